import hashlib

import pytest
from conftest import git as command

from workflow.errors import UserError
from workflow.provenance import git
from workflow.provenance.receipt import CodeState

SCRIPT = "steps/train.py"
FILES = {"train.py": "2" * 64}  # digests, which the state only repeats


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


def restored(project, patch, code, tmp_path, script=SCRIPT):
    target = tmp_path / "target"
    target.mkdir()
    return git.checkout(code, patch, project, target, script).project


def test_committed_code_is_described_by_its_commit_alone(project, tmp_path):
    code, patch = git.state(project, ["steps/train.py"], FILES)
    commit = command(project, "rev-parse", "HEAD")
    assert code == CodeState(commit=commit, folder="project/", remote=None, patch=None, files=FILES)
    assert patch == b""
    assert (restored(project, patch, code, tmp_path) / "steps/train.py").read_text() == "one\n"


def test_uncommitted_changes_come_back_and_the_repository_stays_as_it_is(project, tmp_path):
    (project / "steps/train.py").write_text("two\n")
    (project / "steps/new.py").write_text("new\n")
    (project / "steps/secret.py").write_text("ignored, but imported\n")
    (project / "notes.txt").write_text("not imported\n")
    before = command(project, "status", "--porcelain"), command(project, "count-objects")
    code, patch = git.state(project, ["steps/train.py", "steps/new.py", "steps/secret.py"], FILES)
    assert code.patch == hashlib.sha256(patch).hexdigest()
    assert (command(project, "status", "--porcelain"), command(project, "count-objects")) == before
    again = restored(project, patch, code, tmp_path)
    assert sorted(path.name for path in (again / "steps").iterdir()) == ["new.py", "secret.py", "train.py"]
    assert (again / "steps/train.py").read_text() == "two\n"


def test_staged_and_deleted_files_come_back_as_they_are(project, tmp_path):
    (project / "steps/staged.py").write_text("staged\n")
    command(project, "add", "steps/staged.py")
    (project / "steps/train.py").unlink()
    code, patch = git.state(project, [], FILES)
    again = restored(project, patch, code, tmp_path, "steps/staged.py")
    assert [path.name for path in (again / "steps").iterdir()] == ["staged.py"]


def test_settings_of_the_user_do_not_change_the_patch(project):
    (project / "steps/train.py").write_text("two\n")
    _, patch = git.state(project, [], FILES)
    for name, value in (("diff.noprefix", "true"), ("color.ui", "always"), ("diff.external", "false")):
        command(project, "config", name, value)
    assert git.state(project, [], FILES)[1] == patch


def test_code_outside_a_repository_has_only_its_files(tmp_path):
    code = CodeState(commit=None, folder=None, remote=None, patch=None, files=FILES)
    assert git.state(tmp_path, [], FILES) == (code, b"")


def test_a_repository_without_a_commit_counts_as_none(tmp_path):
    command(tmp_path, "init", "--quiet")
    assert git.state(tmp_path, [], FILES)[0].commit is None


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
    assert git.state(project, [], FILES)[0].remote == shown


@pytest.mark.parametrize("spelling", ["{}", "{}/", "{}/.git"])
def test_a_commit_that_this_repository_does_not_have_comes_from_its_remote(project, tmp_path, spelling):
    clone = tmp_path / "clone"
    command(tmp_path, "init", "--quiet", "clone")
    command(clone, "remote", "add", "origin", spelling.format(project.parent))
    code = git.state(project, [], FILES)[0].model_copy(update={"remote": str(project.parent)})
    (tmp_path / "target").mkdir()
    found = git.checkout(code, b"", clone, tmp_path / "target", SCRIPT)
    assert (found.project / SCRIPT).exists()
    assert found.origin == str(project.parent)


def test_code_of_another_remote_is_checked_out_only_if_that_is_trusted(project, tmp_path):
    foreign = str(project.parent)
    code = git.state(project, [], FILES)[0].model_copy(update={"remote": foreign})
    clone = tmp_path / "clone"
    command(tmp_path, "init", "--quiet", "clone")
    for number, trust in enumerate(("", "https://example.com/other.git", foreign)):
        target = tmp_path / str(number)
        target.mkdir()
        if trust == foreign:
            assert git.checkout(code, b"", clone, target, SCRIPT, trust).origin == foreign
            continue
        words = f"^commit {code.commit} is not in this .* {foreign} is another .* needs -P trust={foreign}$"
        with pytest.raises(UserError, match=words):
            git.checkout(code, b"", clone, target, SCRIPT, trust)
        assert not (target / "project").exists()


@pytest.mark.parametrize("folder", ["../../..", "../elsewhere", "{}", "project/../../elsewhere", "away", ".git"])
def test_a_folder_outside_the_checkout_is_refused(project, tmp_path, folder):
    elsewhere = tmp_path / "elsewhere"
    for place in (elsewhere, tmp_path):
        (place / "steps").mkdir(parents=True)
        (place / SCRIPT).write_text("evil\n")
    (project.parent / "away").symlink_to(elsewhere)
    command(project.parent, "add", "--all")
    command(project, "commit", "--quiet", "--message", "a link")
    code = git.state(project, [], FILES)[0].model_copy(update={"folder": folder.format(elsewhere)})
    target = tmp_path / "target"
    target.mkdir()
    with pytest.raises(UserError, match=r"^code\.folder=.*: leads to no file of the checkout"):
        git.checkout(code, b"", project, target, SCRIPT)


@pytest.mark.parametrize(("link", "name"), [("steps/train.py", "code.folder=project/"), ("steps/workflow", "project/")])
def test_a_link_out_of_the_checkout_is_refused(project, tmp_path, link, name):
    (tmp_path / "elsewhere").mkdir()
    (project / link).unlink(missing_ok=True)
    (project / link).symlink_to(tmp_path / "elsewhere")
    command(project, "add", "--all")
    command(project, "commit", "--quiet", "--message", "a link")
    code, patch = git.state(project, [], FILES)
    with pytest.raises(UserError, match=f"^{name}.*: leads to no file of the checkout"):
        restored(project, patch, code, tmp_path)


def test_code_that_cannot_be_checked_out_is_refused_with_the_reason(project, tmp_path):
    code, _ = git.state(project, [], FILES)
    for number, (changed, patch, words) in enumerate(
        [
            (code.model_copy(update={"commit": "0" * 40}), b"", f"^commit {'0' * 40} not found: .* says: "),
            (code, b"rubbish\n", f"^uncommitted.patch does not apply to commit {code.commit}: "),
        ]
    ):
        target = tmp_path / str(number)
        target.mkdir()
        with pytest.raises(UserError, match=words):
            git.checkout(changed, patch, project, target, SCRIPT)


def test_a_checkout_has_the_recorded_bytes_where_git_is_set_to_change_line_ends(project, tmp_path, monkeypatch):
    code, patch = git.state(project, [], FILES)
    (tmp_path / "config").write_text("[core]\n\tautocrlf = true\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "config"))
    assert (restored(project, patch, code, tmp_path) / SCRIPT).read_bytes() == b"one\n"
