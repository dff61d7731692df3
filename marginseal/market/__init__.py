"""From quotes to an integer risk epoch; the only place where floats live."""
