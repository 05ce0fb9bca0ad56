"""The formats of files, by their first bytes."""

import re
import zipfile
from enum import Enum
from pathlib import Path

from workflow.errors import UserError

START_BYTES = 2**16  # of a file, which show its format: an ARFF file may begin with pages of comments
ARROW_FILE = b"ARROW1\x00"
READABLE = "CSV, Parquet, Excel (.xlsx), Feather, Stata or JSON lines"
WORKBOOK_ENTRY = "[Content_Types].xml"  # in every Excel workbook, which is a zip archive


class Format(Enum):
    """A format that is read."""

    PARQUET, ARROW, EXCEL, STATA, TEXT = range(5)


STARTS = {  # of the formats that are read, as regular expressions
    Format.PARQUET: rb"PAR1(?![,;|])",
    Format.ARROW: rb"ARROW1\x00|\xff{4}...\x00",  # a file, which Feather is too; a stream
    Format.STATA: rb"<stata_dta>|[\x66-\x73][\x01\x02]\x01\x00",
}
OTHER_STARTS = {  # of those that are not
    "an ARFF file": rb"(?:\s|%[^\n]*\n)*@relation\b",
    "an SPSS file": rb"\$FL[23]|ASCII SPSS PORT FILE",
    "a SAS file": rb"\x00{12}\xc2\xea\x81\x60|HEADER RECORD\*{7}",
    "an R file": rb"RD[AX][23]\n|X\n\x00\x00\x00",
    "an old Office file, such as .xls": rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
    "a NumPy array": rb"\x93NUMPY",
    "an HDF5 file": rb"\x89HDF\r\n\x1a\n",
    "a NetCDF file": rb"CDF[\x01\x02\x05]",
    "a MATLAB file": rb"MATLAB 5\.0 MAT-file",
    "a SQLite database": rb"SQLite format 3\x00",
    "a DuckDB database": rb".{8}DUCK",
    "an Access database": rb"\x00\x01\x00\x00Standard (?:Jet|ACE) DB",
    "a dBASE file": rb"[\x03\x30\x83\x8b\xf5].[\x01-\x0c][\x01-\x1f].{8}\x00\x00",
    "a pickle": rb"\x80[\x02-\x05]",
    "an ORC file": rb"ORC.{0,99}[\x00-\x08]",
    "an Avro file": rb"Obj\x01",
    "Feather of version 1": rb"FEA1\x00",
    "a PDF": rb"%PDF-",
    "an image": rb"\x89PNG\r\n|\xff\xd8\xff|GIF8[79]a|II\*\x00|MM\x00\*|RIFF....WEBP",
    "an RTF document": rb"\{\\rtf",
    "an XML document": rb"(?:\xef\xbb\xbf)?\s*<\?xml\b",
    "a 7z, RAR or LZ4 archive": rb"7z\xbc\xaf\x27\x1c|Rar!\x1a\x07|\x04\x22\x4d\x18",
    "a tar archive": rb".{257}ustar",
    "a pointer of Git LFS (git lfs pull fetches the file)": rb"version https://git-lfs\.github\.com/spec/",
}
OTHER_ENTRIES = {  # of zip archives that are documents
    "an OpenDocument file, such as .ods": r"mimetype",
    "a NumPy archive": r".*\.npy",
    "a Word or PowerPoint document": r"(?:word|ppt)/.*",
}


def detect_format(path: Path, source: Path) -> Format:
    """Return the format of an unpacked file; UserError, which names `source`, if it is empty or of another format."""
    with open(path, "rb") as file:
        start = file.read(START_BYTES)
    if not start:
        raise UserError(f"data {source}: an empty file")
    entries = zip_entries(path)
    others = [name for name, pattern in OTHER_STARTS.items() if re.match(pattern, start, re.DOTALL | re.IGNORECASE)]
    others += [name for name, pattern in OTHER_ENTRIES.items() if any(re.fullmatch(pattern, each) for each in entries)]
    if others:
        raise UserError(f"data {source}: {others[0]}, a format that is not read; save it as {READABLE}")
    if WORKBOOK_ENTRY in entries:
        return Format.EXCEL
    found = [each for each, pattern in STARTS.items() if re.match(pattern, start, re.DOTALL)]
    return found[0] if found else Format.TEXT


def zip_entries(path: Path) -> list[str]:
    """Return the names of the files in a zip archive; none if the file is no such archive."""
    with open(path, "rb") as file:
        if file.read(2) != b"PK" or not zipfile.is_zipfile(path):
            return []
    with zipfile.ZipFile(path) as archive:
        return [name for name in archive.namelist() if not name.endswith("/")]


def is_document(entries: list[str]) -> bool:
    """Return whether a zip archive of these files is a document by itself, such as a workbook."""
    return WORKBOOK_ENTRY in entries or any(
        re.fullmatch(pattern, entry) for pattern in OTHER_ENTRIES.values() for entry in entries
    )
