/** Python that reads a file or lists a directory, as it is copied for a notebook. */
const READERS = new Map([
  ['csv', 'read_csv'],
  ['tsv', 'read_table'],
  ['parquet', 'read_parquet'],
  ['json', 'read_json'],
  ['jsonl', 'read_json'],
  ['feather', 'read_feather'],
  ['xlsx', 'read_excel']
]);

const TEXT = new Set(['txt', 'md', 'log', 'yaml', 'yml', 'xml', 'html', 'py', 'sql', 'toml', 'ini']);

export function codeSnippet(realPath: string, isDirectory: boolean): string {
  const path = JSON.stringify(realPath); // escapes as Python's string literals do
  if (isDirectory) {
    return `from pathlib import Path\n\nfor path in sorted(Path(${path}).iterdir()):\n    print(path)\n`;
  }
  const extension = realPath.slice(realPath.lastIndexOf('.') + 1).toLowerCase();
  const reader = READERS.get(extension);
  if (reader) {
    const lines = extension === 'jsonl' ? ', lines=True' : '';
    return `import pandas as pd\n\ndata = pd.${reader}(${path}${lines})\ndata\n`;
  }
  const [mode, name] = TEXT.has(extension) ? ['', 'text'] : [', "rb"', 'data'];
  return `with open(${path}${mode}) as file:\n    ${name} = file.read()\n`;
}
