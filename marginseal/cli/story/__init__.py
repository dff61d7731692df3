"""What `marginseal demo` plays: `https` the whole story, `local` the proof alone; `telling` tells both."""
