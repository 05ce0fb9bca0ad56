"""A file as uncompressed UTF-8 text, however it was compressed and encoded."""

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

CHUNK = 2**20
COMPRESSIONS: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
    b"\x28\xb5\x2f\xfd": lambda path: pyarrow.CompressedInputStream(str(path), "zstd"),
}
BYTE_ORDER_MARKS = {codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
NOT_LATIN = ["cp1251", "cp1253", "cp1255", "cp1256", "shift_jis", "gb18030", "euc_kr", "big5"]
PAGE = (b"<!doctype html", b"<html")
# Bytes between letters that are letters in Central Europe, such as ł, ą, ż, š and ž, and hardly ever in the west.
MOSTLY = 0.75
LETTER = rb"[A-Za-z\xc0-\xff]"
CENTRAL = re.compile(
    rb"(?<=%s)[\x8a\x8d-\x8f\x9a\x9d-\x9f\xa3\xa5\xaa\xaf\xb3\xb9\xba\xbc\xbe\xbf](?=%s)" % (LETTER, LETTER)
)


@contextmanager
def as_utf8(path: Path, start: bytes) -> Iterator[Path]:
    """The file as uncompressed UTF-8 text: itself, or a temporary copy. `start` is what it begins with."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            path = decompress(path, start, folder)
        except (OSError, EOFError, zipfile.BadZipFile, lzma.LZMAError) as error:
            if isinstance(error, OSError) and error.errno:  # the system's, as of a full disk, not the file's
                raise
            raise UserError(f"data {path}: cannot be unpacked: {first_line(error)}") from error
        encoding = encoding_of(path)
        if encoding:
            text = folder / "text.csv"
            try:
                with open(path, encoding=encoding, newline="") as source, open(text, "w", newline="") as target:
                    shutil.copyfileobj(source, target, CHUNK)
            except UnicodeError as error:
                raise UserError(
                    f"data {path}: not text in {encoding}, which it looks like; save it as UTF-8"
                ) from error
            path = text
        yield path


def decompress(path: Path, start: bytes, folder: Path) -> Path:
    """The file, or an uncompressed copy in `folder` if it is compressed."""
    copy = folder / "unpacked.csv"
    for magic, opener in COMPRESSIONS.items():
        if start.startswith(magic):
            with opener(path) as source, open(copy, "wb") as target:
                shutil.copyfileobj(source, target, CHUNK)
            return copy
    if not start.startswith(b"PK"):
        return path
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
        if len(names) != 1:
            raise UserError(
                f"data {path}: a zip of {len(names)} files, not of one; unpack it and name a file or folder"
            )
        with archive.open(names[0]) as source, open(copy, "wb") as target:
            shutil.copyfileobj(source, target, CHUNK)
    return copy


def encoding_of(path: Path) -> str | None:
    """The encoding of a text file by its byte order mark or by its bytes; None for UTF-8."""
    with open(path, "rb") as file:
        start = file.read(CHUNK)
        for mark, encoding in BYTE_ORDER_MARKS.items():
            if start.startswith(mark):
                return encoding
        if start.lstrip().lower().startswith(PAGE):
            raise UserError(f"data {path}: a web page, not a table; was it saved in place of a download?")
        decoder = codecs.getincrementaldecoder("utf-8")()
        chunk = start
        try:
            while chunk:
                decoder.decode(chunk)
                chunk = file.read(CHUNK)
            decoder.decode(b"", final=True)
            return None
        except UnicodeDecodeError:
            return guessed_encoding(start)


def guessed_encoding(start: bytes) -> str:
    """The likeliest encoding of a text that is not UTF-8.

    Western or Central European, unless nearly all letters of the words that are not English are not Latin.
    """
    words = b" ".join(word for word in re.split(rb"[\x00-\x40]+", start) if not word.isascii())
    letters = [letter for letter in words.decode("cp1252", "replace") if letter.isalpha()]
    foreign = sum(letter > "\x7f" for letter in letters)
    if foreign < MOSTLY * len(letters):
        return "cp1250" if len(CENTRAL.findall(words)) > foreign / 20 else "cp1252"
    import charset_normalizer

    best = charset_normalizer.from_bytes(words, cp_isolation=NOT_LATIN, threshold=0.5).best()
    return best.encoding if best else "cp1252"


def first_line(error: Exception) -> str:
    """What an error has to say, without the picture of the query."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
