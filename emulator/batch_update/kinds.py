"""The request kinds of this revision of the API; what is known but not emulated answers 501 (reference: sheets, 2.1, 8.1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from emulator.errors import Json
from emulator.spreadsheet import Spreadsheet


class Draft(NamedTuple):
    """What a request may change, and for whom."""

    spreadsheet: Spreadsheet
    project: str
    user: str
    delete_without_match: str


Apply = Callable[[Draft, Json], Json]
APPLY: dict[str, Apply] = {}


def kind(name: str) -> Callable[[Apply], Apply]:
    """Registers what a request kind does."""

    def register(apply: Apply) -> Apply:
        APPLY[name] = apply
        return apply

    return register


KNOWN = frozenset(
    [
        "addBanding",
        "addChart",
        "addConditionalFormatRule",
        "addDataSource",
        "addDimensionGroup",
        "addFilterView",
        "addNamedRange",
        "addProtectedRange",
        "addSheet",
        "addSlicer",
        "addTable",
        "appendCells",
        "appendDimension",
        "autoFill",
        "autoResizeDimensions",
        "cancelDataSourceRefresh",
        "clearBasicFilter",
        "copyPaste",
        "createDeveloperMetadata",
        "cutPaste",
        "deleteBanding",
        "deleteConditionalFormatRule",
        "deleteDataSource",
        "deleteDeveloperMetadata",
        "deleteDimension",
        "deleteDimensionGroup",
        "deleteDuplicates",
        "deleteEmbeddedObject",
        "deleteFilterView",
        "deleteNamedRange",
        "deleteProtectedRange",
        "deleteRange",
        "deleteSheet",
        "deleteTable",
        "duplicateFilterView",
        "duplicateSheet",
        "findReplace",
        "insertDimension",
        "insertRange",
        "mergeCells",
        "moveDimension",
        "pasteData",
        "randomizeRange",
        "refreshDataSource",
        "repeatCell",
        "setBasicFilter",
        "setDataValidation",
        "sortRange",
        "textToColumns",
        "trimWhitespace",
        "unmergeCells",
        "updateBanding",
        "updateBorders",
        "updateCells",
        "updateChartSpec",
        "updateConditionalFormatRule",
        "updateDataSource",
        "updateDeveloperMetadata",
        "updateDimensionGroup",
        "updateDimensionProperties",
        "updateEmbeddedObjectBorder",
        "updateEmbeddedObjectPosition",
        "updateFilterView",
        "updateNamedRange",
        "updateProtectedRange",
        "updateSheetProperties",
        "updateSlicerSpec",
        "updateSpreadsheetProperties",
        "updateTable",
        "addCommentReply",
        "insertComment",
        "updateComment",
        "deleteComment",
    ]
)
