import pytest
from conftest import git as command

from workflow.errors import UserError
from workflow.provenance import git


@pytest.fixture
def project(tmp_path):
    """A project in a folder of a repository, with one commit."""
    folder = tmp_path / "repository" / "project"
    (folder / "steps").mkdir(parents=True)
    (folder / "steps/train.py").write_text("one\n")
    (folder / ".gitignore").write_text("secret.py\n")
    command(folder.parent, "init", "--quiet")
    command(folder, "add", "--all")
    command(folder, "commit", "--quiet", "--message", "first")
    return folder


def restored(project, patch, code, tmp_path):
    target = tmp_path / "target"
    target.mkdir()
    return git.checkout(code, patch, project, target)


def test_a_clean_state(project, tmp_path):
    code, patch = git.state(project, ["steps/train.py"])
    assert code == {
        "commit": command(project, "rev-parse", "HEAD"),
        "folder": "project/",
        "remote": None,
        "patch": None,
    }
    assert patch == b""
    assert (restored(project, patch, code, tmp_path) / "steps/train.py").read_text() == "one\n"


def test_uncommitted_changes_come_back_and_the_repository_stays_as_it_is(project, tmp_path):
    (project / "steps/train.py").write_text("two\n")
    (project / "steps/new.py").write_text("new\n")
    (project / "steps/secret.py").write_text("ignored, but imported\n")
    (project / "notes.txt").write_text("of no concern\n")
    before = command(project, "status", "--porcelain"), command(project, "count-objects")
    code, patch = git.state(project, ["steps/train.py", "steps/new.py", "steps/secret.py"])
    assert (command(project, "status", "--porcelain"), command(project, "count-objects")) == before
    again = restored(project, patch, code, tmp_path)
    assert sorted(path.name for path in (again / "steps").iterdir()) == ["new.py", "secret.py", "train.py"]
    assert (again / "steps/train.py").read_text() == "two\n"


def test_staged_and_deleted_files(project, tmp_path):
    (project / "steps/staged.py").write_text("staged\n")
    command(project, "add", "steps/staged.py")
    (project / "steps/train.py").unlink()
    code, patch = git.state(project, [])
    again = restored(project, patch, code, tmp_path)
    assert [path.name for path in (again / "steps").iterdir()] == ["staged.py"]


def test_settings_of_the_user_do_not_change_the_patch(project):
    (project / "steps/train.py").write_text("two\n")
    _, patch = git.state(project, [])
    for name, value in (("diff.noprefix", "true"), ("color.ui", "always"), ("diff.external", "false")):
        command(project, "config", name, value)
    assert git.state(project, [])[1] == patch


def test_no_repository(tmp_path):
    assert git.state(tmp_path, []) == ({"commit": None, "folder": None, "remote": None, "patch": None}, b"")


def test_a_repository_without_a_commit(tmp_path):
    command(tmp_path, "init", "--quiet")
    assert git.state(tmp_path, [])[0]["commit"] is None


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:token@example.com/wines.git", "https://example.com/wines.git"),
        ("https://example.com:8443/wines.git", "https://example.com:8443/wines.git"),
        ("git@example.com:team/wines.git", "git@example.com:team/wines.git"),
        ("ssh://git@example.com/wines.git", "ssh://git@example.com/wines.git"),
    ],
)
def test_the_remote_is_shown_without_its_password(project, url, shown):
    command(project, "remote", "add", "origin", url)
    assert git.state(project, [])[0]["remote"] == shown


def test_the_remote_has_what_this_repository_does_not(project, tmp_path):
    code = git.state(project, [])[0] | {"remote": str(project.parent)}
    for name in ("empty", "target"):
        (tmp_path / name).mkdir()
    assert (git.checkout(code, b"", tmp_path / "empty", tmp_path / "target") / "steps/train.py").exists()


def test_what_cannot_be_checked_out(project, tmp_path):
    code, _ = git.state(project, [])
    for number, (changed, patch, words) in enumerate(
        [
            (code | {"commit": "0" * 40}, b"", "cannot be had"),
            (code, b"rubbish\n", "uncommitted.patch does not fit commit"),
        ]
    ):
        target = tmp_path / str(number)
        target.mkdir()
        with pytest.raises(UserError, match=words):
            git.checkout(changed, patch, project, target)
