import os
import socket
from functools import partial

import pytest

from workflow.data.files import open_table
from workflow.errors import UserError
from workflow.provenance.fingerprint import path_digest
from workflow.runs import receipt_lookup, sources


@pytest.fixture
def specials(tmp_path):
    """Return paths of a device, a pipe, a socket and a link to a device."""
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "link.csv").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s.csv"))
        yield ["/dev/zero", *map(str, (tmp_path / "pipe.csv", tmp_path / "s.csv", tmp_path / "link.csv"))]


def test_what_may_be_read_without_end_is_refused(specials, tmp_path):
    for path in specials:
        for parameter in ("data", "contract", "rules"):
            with pytest.raises(UserError, match=f"^{parameter}={path}: a device, a pipe or a socket, not a file"):
                sources.local_copy(parameter, path, tmp_path)
        for read in (sources.read_bytes, partial(receipt_lookup.find_receipt, project=tmp_path)):
            with pytest.raises(UserError, match="a device, a pipe or a socket, not a file"):
                read(f"file://{path}")
        with pytest.raises(UserError, match="neither a run id, nor a file"):
            receipt_lookup.find_receipt(path, tmp_path)


def test_a_folder_that_leads_into_itself_is_read_once(tmp_path):
    (tmp_path / "part.csv").write_text("a,b\n1,2\n")
    (tmp_path / "again").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe.csv")
    folder = sources.local_copy("data", str(tmp_path), tmp_path)
    assert path_digest(folder)
    with open_table(folder) as table:
        assert table.rows == 1
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    with pytest.raises(UserError, match="no such file"):
        sources.local_copy("data", str(tmp_path / "loop.csv"), tmp_path)
