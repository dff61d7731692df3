"""The command `marginseal`: verbs, exit statuses, and the promise that no traceback reaches a user.

Exit status 0: done, or accepted.  2: wrong usage.  3 to 10: the class of the error (`marginseal.errors`).  70: a fault
of ours.  With `--json` errors come as JSON on standard error too.  Each verb lives in a module of its own and imports
what it needs when it runs, so that `--help` is instant.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import typer
from typer.exceptions import TyperException

from marginseal.cli import (
    bench,
    commit,
    decide,
    demo,
    epoch,
    init,
    key,
    log,
    manifest,
    margin,
    office,
    open,
    oracle,
    prove,
    replay,
    rule,
    serve,
    source,
    submit,
    venue,
    verify,
    witness,
)
from marginseal.errors import MarginSealError, Unsatisfied

app = typer.Typer(
    help="Prove a portfolio's margin health to a venue that never sees the portfolio.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command("demo")(demo.demo)
app.command("init")(init.init)
app.add_typer(epoch.app, name="epoch")
app.add_typer(rule.app, name="rule")
app.command("margin")(margin.margin)
app.command("commit")(commit.commit)
app.command("prove")(prove.prove)
app.command("verify")(verify.verify)
app.add_typer(open.app, name="open")
app.add_typer(manifest.app, name="manifest")
app.add_typer(log.app, name="log")
app.command("decide")(decide.decide)
app.command("replay")(replay.replay)
app.command("serve")(serve.serve)
app.add_typer(oracle.app, name="oracle")
app.add_typer(office.app, name="office")
app.add_typer(key.app, name="key")
app.command("submit")(submit.submit)
app.add_typer(source.app, name="source")
app.add_typer(venue.app, name="venue")
app.add_typer(witness.app, name="witness")
app.command("bench")(bench.bench)


def fail(error: MarginSealError, *, as_json: bool) -> int:
    """Tell the error; the amount of a shortfall goes to the owner's terminal alone, never into JSON or a log."""
    if as_json:
        body: dict[str, Any] = {"error": {"code": error.code, "message": error.message}}
        if isinstance(error, Unsatisfied):
            body["error"]["line"] = error.line
        print(json.dumps(body), file=sys.stderr)
    else:
        print(f"refused: {error}", file=sys.stderr)
        if isinstance(error, Unsatisfied) and error.shortfall and sys.stderr.isatty():
            print(f"  short by {error.shortfall} (in the rule's unit)", file=sys.stderr)
    return error.exit_status


def main() -> None:
    """Entry point of the console script."""
    as_json = "--json" in sys.argv
    try:
        # With --json wrong usage is raised instead of printed, and an exit status comes back as a value.
        status = app(standalone_mode=not as_json)
        sys.exit(status if isinstance(status, int) else 0)
    except TyperException as e:
        print(json.dumps({"error": {"code": "cli.usage", "message": e.format_message()}}), file=sys.stderr)
        sys.exit(2)
    except MarginSealError as e:
        sys.exit(fail(e, as_json=as_json))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(141)
    except Exception as e:
        # The type alone: a message could carry what was being worked on.
        print(f"internal fault ({type(e).__name__}): please report it [internal]", file=sys.stderr)
        sys.exit(70)
