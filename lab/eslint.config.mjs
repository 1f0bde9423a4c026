import jupyterPlugin from '@jupyter/eslint-plugin';
import prettier from 'eslint-config-prettier';
import tseslint from 'typescript-eslint';

export default tseslint.config(
  { ignores: ['lib/**', 'node_modules/**', 'pachmount_lab/**', '*.js', '*.mjs'] },
  ...tseslint.configs.recommended,
  ...(jupyterPlugin.configs?.recommended ? [jupyterPlugin.configs.recommended].flat() : []),
  prettier,
  {
    rules: {
      '@typescript-eslint/no-namespace': 'off',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_' }],
      'jupyter/prefer-lazy-imports': 'off', // the panel and the drive are needed at the start
      'no-console': 'error',
      'no-alert': 'error',
      curly: ['error', 'all'],
      eqeqeq: 'error'
    }
  }
);
