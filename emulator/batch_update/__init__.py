"""spreadsheets.batchUpdate: requests run in order on one draft; the first that is invalid refuses all of them."""

from emulator.batch_update.batch import run

__all__ = ["run"]
