"""`marginseal demo`: the whole story over HTTPS on loopback, or with `--local` the proof alone, in plain words."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    local: Annotated[bool, typer.Option("--local", help="The proof alone, without a service.")] = False,
    keep: Annotated[Path | None, typer.Option(help="Keep the desk (and the service) in this new folder.")] = None,
    picture: Annotated[Path, typer.Option(help="Where the picture of the capital saved goes.")] = Path(
        "build/demo/capital.png"
    ),
) -> None:
    """Sources sign, the fund proves, venues accept; a crash, cheats and an auditor follow."""
    import tempfile

    from marginseal.cli.desk import Desk

    with tempfile.TemporaryDirectory(prefix="marginseal-demo-") as folder:
        root = keep or Path(folder) / "demo"
        if local:
            from marginseal.cli.story.local import play

            play(Desk(root))
        else:
            from marginseal.cli.story.https import play as play_https

            play_https(root, picture)
        if keep is not None:
            print(f"everything is kept in {keep}")
