"""The genogate command."""


def main() -> None:
    raise SystemExit(0)
