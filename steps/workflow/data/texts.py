"""Text files as uncompressed UTF-8, whatever their compression and encoding."""

import bz2
import codecs
import gzip
import lzma
import re
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow

from workflow.errors import UserError

READ_BYTES = 2**20  # read at a time; the first of them also show the encoding
COMPRESSIONS: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
    b"\x28\xb5\x2f\xfd": lambda path: pyarrow.CompressedInputStream(str(path), "zstd"),
}
BYTE_ORDER_MARKS = {codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
NON_LATIN_ENCODINGS = ["cp1251", "cp1253", "cp1255", "cp1256", "shift_jis", "gb18030", "euc_kr", "big5"]
WEB_PAGE_STARTS = (b"<!doctype html", b"<html")
MIN_NON_LATIN_SHARE = 0.75  # of the letters of words that are not ASCII
NON_ASCII_PER_CENTRAL = 20  # a Central European text has more than one such letter in so many non-ASCII ones
LETTER = rb"[A-Za-z\xc0-\xff]"
# Bytes between letters that are letters in cp1250, such as ł, ą, ż, š and ž, and hardly ever occur there in cp1252.
CENTRAL_LETTER = re.compile(
    rb"(?<=%s)[\x8a\x8d-\x8f\x9a\x9d-\x9f\xa3\xa5\xaa\xaf\xb3\xb9\xba\xbc\xbe\xbf](?=%s)" % (LETTER, LETTER)
)


@contextmanager
def as_utf8(path: Path, start: bytes) -> Iterator[Path]:
    """Open a file as uncompressed UTF-8 text: the file itself, or a temporary copy.

    Args:
        path: the file.
        start: its first bytes, which show how it is compressed.

    Raises:
        UserError: if it cannot be decompressed or decoded.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            path = decompress(path, start, folder)
        except (OSError, EOFError, zipfile.BadZipFile, lzma.LZMAError) as error:
            if isinstance(error, OSError) and error.errno:  # from the system, such as a full disk, not from the file
                raise
            raise UserError(f"data {path}: cannot be unpacked: {first_line(error)}") from error
        encoding = detect_encoding(path)
        yield transcode(path, encoding, folder / "text.csv") if encoding else path


def decompress(path: Path, start: bytes, folder: Path) -> Path:
    """Return the file, or if it is compressed, an uncompressed copy in `folder`."""
    copy = folder / "unpacked.csv"
    for magic, opener in COMPRESSIONS.items():
        if start.startswith(magic):
            with opener(path) as source, open(copy, "wb") as target:
                shutil.copyfileobj(source, target, READ_BYTES)
            return copy
    if not start.startswith(b"PK"):
        return path
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
        if len(names) != 1:
            raise UserError(
                f"data {path}: a zip of {len(names)} files; expected one; unpack it and pass a file or folder"
            )
        with archive.open(names[0]) as source, open(copy, "wb") as target:
            shutil.copyfileobj(source, target, READ_BYTES)
    return copy


def transcode(path: Path, encoding: str, copy: Path) -> Path:
    """Return a UTF-8 copy of a text file; UserError if the file is not valid in this encoding."""
    try:
        with open(path, encoding=encoding, newline="") as source, open(copy, "w", newline="") as target:
            shutil.copyfileobj(source, target, READ_BYTES)
    except UnicodeError as error:
        raise UserError(f"data {path}: not valid {encoding}, the detected encoding; save it as UTF-8") from error
    return copy


def detect_encoding(path: Path) -> str | None:
    """Return the encoding of a text file by its byte order mark or its content; None for UTF-8.

    Raises UserError for a web page.
    """
    with open(path, "rb") as file:
        start = file.read(READ_BYTES)
        for mark, encoding in BYTE_ORDER_MARKS.items():
            if start.startswith(mark):
                return encoding
        if start.lstrip().lower().startswith(WEB_PAGE_STARTS):
            raise UserError(f"data {path}: a web page, not a table; download the file itself")
        decoder = codecs.getincrementaldecoder("utf-8")()
        chunk = start
        try:
            while chunk:
                decoder.decode(chunk)
                chunk = file.read(READ_BYTES)
            decoder.decode(b"", final=True)
            return None
        except UnicodeDecodeError:
            return guess_encoding(start)


def guess_encoding(start: bytes) -> str:
    """Guess the encoding of a text that is not UTF-8 by its first bytes.

    The guess is Western or Central European, unless nearly all letters of the non-ASCII words are non-ASCII: then the
    alphabet is not Latin.
    """
    words = b" ".join(word for word in re.split(rb"[\x00-\x40]+", start) if not word.isascii())
    letters = [letter for letter in words.decode("cp1252", "replace") if letter.isalpha()]
    non_ascii = sum(letter > "\x7f" for letter in letters)
    if non_ascii < MIN_NON_LATIN_SHARE * len(letters):
        return "cp1250" if len(CENTRAL_LETTER.findall(words)) > non_ascii / NON_ASCII_PER_CENTRAL else "cp1252"
    import charset_normalizer

    best = charset_normalizer.from_bytes(words, cp_isolation=NON_LATIN_ENCODINGS, threshold=0.5).best()
    return best.encoding if best else "cp1252"


def first_line(error: Exception) -> str:
    """Return the first line of an error's message: DuckDB adds a picture of the query below it."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
