"""The shell's way in. A user's mistake prints one message and no traceback."""

from __future__ import annotations

import sys


def main() -> None:
    from ganvas.cli import app
    from ganvas.engine.memory import keep_freed_memory
    from ganvas.errors import UserError

    status: object = 1
    keep_freed_memory()
    try:
        app(prog_name="ganvas")
    except SystemExit as e:
        status = e.code
        raise
    except UserError as e:
        print(f"error: {e}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        raise SystemExit(130) from None
    except BrokenPipeError:
        raise SystemExit(0) from None
    finally:
        if "ganvas.ranks" in sys.modules:
            sys.modules["ganvas.ranks"].stop(wait=not status)


if __name__ == "__main__":
    main()
