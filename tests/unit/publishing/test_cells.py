"""IPython's commands in cells become what IPython itself makes of them."""

from __future__ import annotations

import pytest
from IPython.core.inputtransformer2 import TransformerManager

from pachmount.publishing.cells import to_python, uses_ipython

CELLS = [
    "x = 1\n",
    "%matplotlib inline\nx = 1\n",
    "!pip install x\n",
    "!!ls\n",
    "for i in range(3):\n    !echo {i}\n    y = !ls -l\n",
    "text = '''\n%not a magic\n'''\n%a magic\n",
    "s = (1 %\n 2)\n!ls\n",
    "a = %time 5\n",
    "a, b = !ls\n",
    "a['x'] = !ls # c\n",
    "x = %sql select a = b\n",
    "print('a=%s' % 1)\n!ls\n",
    "%%bash -x\necho 1\nls",
    "%%time\n",
    "   \n%%time\nx",
    "len?\n",
    "df.head??\n",
    "?len\n",
    "%time?\n",
    "%load_ext   foo\n",
    "!ls \\\n  -l\n",
    "%magic a \\\n  b\n",
    "x != 3\n%a\n",
    "def f():\n    return 1\n\n%time f()\n",
    "# a comment\n\n!ls\n",
    "x = '''\n!not\n'''  # it\n    # and\n!ls\nif x:\n  pass\n",
    'y = !echo "it\'s"\nz = 1\n',
    "x = f(1,\n\n  # inside\n  2)\n%time x\n",
    "x = 1 + \\\n  2\n!ls\n",
    "if True:\n    x = 1\nelse:\n    %time x\n",
]


@pytest.mark.parametrize("cell", CELLS)
def test_cells_become_what_ipython_makes_of_them(cell: str) -> None:
    expected = TransformerManager().transform_cell(cell)
    assert to_python(cell) == expected
    assert uses_ipython(expected) == ("get_ipython" in expected)


def test_a_null_byte_is_no_python() -> None:
    with pytest.raises(SyntaxError, match="null byte"):
        to_python("x = 1\0")


def test_python_stays_as_it_is() -> None:
    code = "class A:\n    pattern = '\\d'  # !ls\n\n    async def f(self):\n        return 7 % 3"
    assert to_python(code) == code


@pytest.mark.parametrize(
    ("cell", "line"), [("x = 1\nprint(1); !ls\n", 2), ("%time x\nz = [1,\n!2]\n", 3), ("if x\n", 1), ("'''\n", 1)]
)
def test_what_is_no_python_is_told_with_its_line(cell: str, line: int) -> None:
    with pytest.raises(SyntaxError) as caught:
        to_python(cell)
    assert caught.value.lineno == line


@pytest.mark.timeout(20)
def test_a_long_cell_takes_no_time() -> None:
    cell = "%time x\ndata = [\n" + "    1,\n" * 20_000 + "]\n"
    assert to_python(cell).startswith("get_ipython()")


@pytest.mark.timeout(20)
def test_a_long_cell_that_does_not_end_takes_no_time() -> None:
    with pytest.raises(SyntaxError):
        to_python("%time x\ndata = [\n" + "    1,\n" * 20_000)
