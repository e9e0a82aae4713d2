"""Health of the process in this container: `python probe.py [healthz|readyz]` exits 0 or 1. Standard library only."""

from __future__ import annotations

import http.client
import os
import sys

LIMIT_S = 4


def main() -> int:
    path = sys.argv[1] if len(sys.argv) > 1 else "healthz"
    connection = http.client.HTTPConnection("127.0.0.1", int(os.environ.get("REELGRAPH_HTTP_PORT", "8080")), LIMIT_S)
    try:
        connection.request("GET", f"/{path}")
        answer = connection.getresponse()
        print(answer.read(1000).decode(errors="replace"))
        return 0 if answer.status == 200 else 1
    except (OSError, http.client.HTTPException) as error:
        print(error)
        return 1
    finally:
        connection.close()


if __name__ == "__main__":
    raise SystemExit(main())
