"""Datums in the Test view, beside a notebook that reads them."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.integration.box import Box
from tests.lab.browser.lab_page import LabPage


def test_stepping_through_datums(lab: LabPage, box: Box) -> None:
    repo = box.repo("numbers")
    box.put(repo, {f"/{name}": name.encode() for name in ("one", "two", "three")})
    before = box.mount(repo)["mountpoint"]
    lab.show("Test")
    lab.by_id("Datum__inputSpecInput").fill(f"pfs: {{repo: {repo}, name: in, glob: /*}}")
    lab.by_id("Datum__mountDatums").click()
    position = lab.by_id("Datum__position")
    expect(position).to_have_text("(1/3)")
    notebook = lab.new_notebook()
    notebook.run("import os")
    read = f"print([open(f'{box.mount_dir}/in/{{name}}').read() for name in os.listdir('{box.mount_dir}/in')])"
    seen = {notebook.run(read)}
    for number in (2, 3):
        lab.by_id("Datum__cyclerRight").click()
        expect(position).to_have_text(f"({number}/3)")
        seen.add(notebook.run(read))
    assert seen == {"['one']", "['two']", "['three']"}
    lab.by_id("Datum__cyclerRight").click()
    expect(lab.panel.get_by_text("This is the last datum.")).to_be_visible()
    lab.by_id("Datum__cyclerFirst").click()
    expect(position).to_have_text("(1/3)")

    lab.by_id("Datum__back").click()
    expect(position).to_be_hidden()
    assert notebook.run(f"print(sorted(os.listdir('{before}')))") == "['one', 'three', 'two']"


def test_what_is_wrong_with_a_spec_stands_below_it(lab: LabPage, box: Box) -> None:
    lab.show("Test")
    lab.by_id("Datum__inputSpecInput").fill("pfs: {repo: nowhere, glob: /*}")
    lab.by_id("Datum__mountDatums").click()
    expect(lab.by_id("Datum__errorMessage")).to_contain_text("nowhere")
