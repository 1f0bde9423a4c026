const jestJupyterLab = require('@jupyterlab/testing/lib/jest-config');

const esModules = [
  '@codemirror',
  '@jupyter/ydoc',
  '@jupyter/react-components',
  '@jupyter/web-components',
  '@microsoft/',
  '@jupyterlab/',
  '@rjsf/'
];
esModules.push(
  'exenv-es6',
  'lib0',
  'nanoid',
  'vscode-ws-jsonrpc',
  'y-protocols',
  'y-websocket',
  'yjs',
  'marked'
);

const baseConfig = jestJupyterLab(__dirname);

module.exports = {
  ...baseConfig,
  automock: false,
  testRegex: 'src/.*/__tests__/.*.spec.ts[x]?$|src/__tests__/.*.spec.ts[x]?$',
  modulePathIgnorePatterns: ['<rootDir>/pachmount_lab/labextension'],
  // its "browser" build is one of ES modules
  moduleNameMapper: { ...baseConfig.moduleNameMapper, '^yaml$': require.resolve('yaml') },
  transformIgnorePatterns: [`/node_modules/(?!${esModules.join('|')}).+`],
  reporters: ['default']
};
