"""Text files as uncompressed UTF-8, whatever their compression and encoding."""

import bz2
import codecs
import gzip
import lzma
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow

from workflow.data.formats import is_document, zip_entries
from workflow.errors import UserError

MAGIC_BYTES = 8  # of a compressed file
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
OTHER_ENCODINGS = ["iso8859_15", "cp1251", "mac_roman"]  # where a sign is out of place in that of Windows
SURROUNDINGS = re.compile(rb"(?s)(?=(..[\x80-\xff]..))")
UNITS = set("àáâéèêíóôúÀÉÅåØøßгмтчлкрсвинуя")  # letters that stand alone beside a number
JOINING = set("‘’–—·\u00ad")  # also between letters
SIGNS = set("€£¥¢°½¼¾±×÷‰‚“”„«»‹›…•™®©§№ªºµ\u00a0")
LAST_LATIN = "\u024f"
LETTER = rb"[A-Za-z\xc0-\xff]"
# Bytes between letters that are letters in cp1250, such as ł, ą, ż, š and ž, and hardly ever occur there in cp1252;
# and the currencies zł and Kč.
CENTRAL_LETTER = re.compile(
    rb"(?<=%s)[\x8a\x8d-\x8f\x9a\x9d-\x9f\xa3\xa5\xaa\xaf\xb3\xb9\xba\xbc\xbe\xbf](?=%s)|\b(?:z\xb3|K\xe8)(?!%s)"
    % (LETTER, LETTER, LETTER)
)


def unpack(path: Path, folder: Path) -> Path:
    """Return the file, or if it is compressed, an uncompressed copy in `folder`; UserError if it cannot be unpacked."""
    try:
        return decompress(path, folder)
    except (OSError, EOFError, zipfile.BadZipFile, lzma.LZMAError, RuntimeError) as error:
        if isinstance(error, OSError) and error.errno:  # from the system, such as a full disk, not from the file
            raise
        raise UserError(f"data {path}: cannot be unpacked: {first_line(error)}") from error


def decompress(path: Path, folder: Path) -> Path:
    """Return the file, or if it is compressed, an uncompressed copy in `folder`."""
    copy = folder / "unpacked"
    with open(path, "rb") as file:
        start = file.read(MAGIC_BYTES)
    for magic, opener in COMPRESSIONS.items():
        if start.startswith(magic):
            with opener(path) as source, open(copy, "wb") as target:
                shutil.copyfileobj(source, target, READ_BYTES)
            return copy
    if not start.startswith(b"PK\x03\x04"):
        return path
    with zipfile.ZipFile(path) as archive:
        names = zip_entries(path)
        if is_document(names):
            return path
        if len(names) != 1:
            raise UserError(
                f"data {path}: a zip of {len(names)} files; expected one; unpack it and pass a file or folder"
            )
        with archive.open(names[0]) as source, open(copy, "wb") as target:
            shutil.copyfileobj(source, target, READ_BYTES)
    return copy


def as_utf8(path: Path, source: Path, folder: Path) -> tuple[Path, tuple[str, ...]]:
    """Return a text file as UTF-8, itself or a copy in `folder`, and a note if the encoding was guessed.

    Raises UserError, which names the `source`, if it cannot be decoded.
    """
    with open(path, "rb") as file:
        start = file.read(READ_BYTES)
    if start.lstrip().lower().startswith(WEB_PAGE_STARTS):
        raise UserError(f"data {source}: a web page, not a table; download the file itself")
    if marked := next((name for mark, name in BYTE_ORDER_MARKS.items() if start.startswith(mark)), None):
        return transcode(path, marked, source, folder / "text"), ()
    if is_utf8(path):
        return path, ()
    encoding = guess_encoding(start)
    note = f"not UTF-8; read as {encoding}, the likeliest encoding of its letters and signs"
    return transcode(path, encoding, source, folder / "text"), (note,)


def transcode(path: Path, encoding: str, source: Path, copy: Path) -> Path:
    """Return a UTF-8 copy of a text file; UserError, which names `source`, if it is not valid in this encoding."""
    try:
        with open(path, encoding=encoding, newline="") as file, open(copy, "w", encoding="utf-8", newline="") as target:
            shutil.copyfileobj(file, target, READ_BYTES)
    except UnicodeError as error:
        raise UserError(f"data {source}: not valid {encoding}, the detected encoding; save it as UTF-8") from error
    return copy


def is_utf8(path: Path) -> bool:
    """Return whether a file is valid UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with open(path, "rb") as file:
        try:
            while chunk := file.read(READ_BYTES):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
    return True


def guess_encoding(start: bytes) -> str:
    """Guess the encoding of a text that is not UTF-8 by its first bytes.

    Words of several letters, nearly all of them non-ASCII, are of another alphabet than the Latin. Otherwise the
    encoding is the one with the fewest characters that are out of place, such as a letter where a currency sign would
    stand; of equal ones, the Western or Central European of Windows.
    """
    words = [word for word in re.split(rb"[\x00-\x40]+", start) if not word.isascii()]
    letters = [letters for word in words if len(letters := letters_of(word)) > 1]
    non_ascii = sum(letter > "\x7f" for word in letters for letter in word)
    if letters and non_ascii >= MIN_NON_LATIN_SHARE * sum(map(len, letters)):
        import charset_normalizer

        best = charset_normalizer.from_bytes(b" ".join(words), cp_isolation=NON_LATIN_ENCODINGS, threshold=0.5).best()
        found = best.encoding if best else "cp1252"
        return least_out_of_place(start, [found, "cp1251"]) if found.startswith("cp") else found
    central = len(CENTRAL_LETTER.findall(b" ".join(words))) > non_ascii / NON_ASCII_PER_CENTRAL
    return least_out_of_place(start, [*(["cp1250", "cp1252"] if central else ["cp1252", "cp1250"]), *OTHER_ENCODINGS])


def least_out_of_place(text: bytes, encodings: list[str]) -> str:
    """Return the encoding, of one byte per character, in which the fewest characters of a text are out of place."""
    parts = {match[1] for match in SURROUNDINGS.finditer(b"  " + text + b"  ")}
    return min(encodings, key=lambda each: sum(is_out_of_place(*part.decode(each, "replace")) for part in parts))


def letters_of(word: bytes) -> str:
    """Return the letters of a word as cp1252 reads it; all bytes, if none is ASCII."""
    text = word.decode("cp1252", "replace")
    return text if min(word) > 0x7F else "".join(letter for letter in text if letter.isalpha())


def is_out_of_place(second_before: str, before: str, character: str, after: str, second_after: str) -> bool:
    """Return whether a non-ASCII character hardly ever stands between the two before it and the two after it."""
    within = before.isalpha() and after.isalpha()
    beside_digit = (second_before + before).strip()[-1:].isdigit() or (after + second_after).strip()[:1].isdigit()
    if character.isalpha() and character not in "ªºµ":
        mixed = character > LAST_LATIN and any(each.isalpha() and each.isascii() for each in (before, after))
        alone = not (before.isalpha() or after.isalpha()) and (beside_digit or before + after == "()")
        return mixed or (character.isupper() and before.islower()) or (alone and character not in UNITS)
    if character in "¡¿":
        return before.isalnum() or beside_digit or (after in "CF" and not second_after.isalpha())  # °C in mac_roman
    if character in "¹²³":
        return not (before.isalnum() or before == ")")
    if character in JOINING:
        return character in "–—" and before.islower() and after.islower()
    return within or character not in SIGNS or (character == "§" and before.isalpha())


def first_line(error: Exception) -> str:
    """Return the first line of an error's message: DuckDB adds a picture of the query below it."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
