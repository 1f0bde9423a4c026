"""From nothing to a commit: what a person does with the panel beside a notebook."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.integration.box import Box
from tests.lab.browser.lab_page import LabPage

POLLS_MS = 20_000


def test_mount_read_update_change_commit(lab: LabPage, box: Box) -> None:
    data = box.root / "tables"
    data.mkdir()
    (data / "table.csv").write_text("first\n")
    repo = box.repo("tables")
    box.ok("import", str(data), f"{repo}@master")

    lab.show("Explore")
    name = lab.mount(repo)
    mount = lab.mount_row(name)
    expect(mount.get_by_test_id("ListItem__commitBehindness")).to_have_text("up to date", timeout=POLLS_MS)
    lab.open_path(name, "table.csv")
    expect(lab.page.locator(".jp-CSVViewer, .jp-FileEditor")).to_be_visible()

    path = box.path(name, "table.csv")
    notebook = lab.new_notebook()
    assert notebook.run(f"print(open('{path}').read())") == "first"

    (data / "table.csv").write_text("second\n")
    box.ok("import", str(data), f"{repo}@master", "--replace")
    expect(mount.get_by_test_id("ListItem__commitBehindness")).to_have_text("1 commit behind", timeout=POLLS_MS)
    assert notebook.run(f"print(open('{path}').read())") == "first"
    mount.get_by_test_id("ListItem__update").click()
    expect(mount.get_by_test_id("ListItem__commitBehindness")).to_have_text("up to date")
    assert notebook.run(f"print(open('{path}').read())") == "second"

    lab.choose(name, "Make Read-Write")
    expect(mount.get_by_test_id("ListItem__mode")).to_have_text("rw")
    notebook.run(f"open('{path.parent}/new.txt', 'w').write('from a cell')")
    mount.get_by_test_id("ListItem__commit").click(timeout=POLLS_MS)
    expect(mount.get_by_test_id("Commit__changes")).to_contain_text("new.txt")
    mount.get_by_test_id("Commit__message").fill("written in a notebook")
    mount.get_by_test_id("Commit__commit").click()
    expect(mount.get_by_test_id("Commit__form")).to_be_hidden(timeout=POLLS_MS)
    assert "new.txt" in box.ok("list", f"{repo}@master")


def test_a_conflict_is_settled_in_the_form(lab: LabPage, box: Box) -> None:
    repo = box.repo("shared")
    box.put(repo, {"/one": b"one\n", "/two": b"two\n"})
    box.mount(repo, mode="rw")
    mount = lab.mount_row(repo)
    for button, expected in (("Conflict__theirs", "theirs"), ("Conflict__ours", "mine")):
        box.path(repo, "one").write_text(f"mine {button}\n")
        box.path(repo, "two").write_text(f"mine {button}\n")
        box.put(repo, {"/one": f"theirs {button}\n".encode()})
        mount.get_by_test_id("ListItem__commit").click(timeout=POLLS_MS)
        expect(mount.get_by_test_id("Commit__changes")).to_contain_text("one")
        mount.get_by_test_id("Commit__commit").click()
        expect(mount.get_by_test_id("Conflict__question")).to_be_visible(timeout=POLLS_MS)
        expect(mount.get_by_test_id("ListItem__failure")).to_contain_text("/one")
        assert lab.violations() == []
        mount.get_by_test_id(button).click()
        expect(mount.get_by_test_id("Commit__form")).to_be_hidden(timeout=POLLS_MS)
        assert box.ok("cat", f"{repo}@master:/one") == f"{expected} {button}\n"
        assert box.ok("cat", f"{repo}@master:/two") == f"mine {button}\n"
        assert box.path(repo, "one").read_text() == f"{expected} {button}\n"
