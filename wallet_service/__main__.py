"""`python -m wallet_service`: serves until SIGTERM or SIGINT. Settings come from the environment (settings.py)."""

import sys

from service_kit.workers import run
from wallet_service.bootstrap import serve
from wallet_service.settings import WalletSettings

if __name__ == "__main__":
    sys.exit(run("wallet_service", WalletSettings, serve))
