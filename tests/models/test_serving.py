import pytest

from workflow.errors import UserError
from workflow.models import serving


@pytest.mark.parametrize("name", serving.READ_FILES)
def test_a_file_that_was_replaced_beside_a_served_model_is_refused(tmp_path, name):
    for file in serving.READ_FILES:
        (tmp_path / file).write_text(file)
    recorded = serving.digests_in(tmp_path)
    serving.check_files(tmp_path, recorded)
    (tmp_path / name).write_text("another")
    with pytest.raises(UserError, match=f"{name}: not the file that was saved with the model"):
        serving.check_files(tmp_path, recorded)
    with pytest.raises(UserError, match="not the file that was saved"):
        serving.check_files(tmp_path, {})
