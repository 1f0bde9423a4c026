import { RequestError, routeUrl } from '../api';

describe('routeUrl', () => {
  it('leaves out arguments that are empty', () => {
    expect(routeUrl('files', { mount: 'a b', after: '', number: undefined })).toMatch(
      /\/pachyderm\/v2\/files\?mount=a\+b$/
    );
  });
});

describe('RequestError.of', () => {
  it("takes the daemon's sentence", () => {
    const body = '{"id": "not-found", "error": "repo a/b not found", "why": "", "hint": "pachmount list"}';
    const error = RequestError.of(404, body, 'Not Found');
    expect([error.id, error.message, error.hint]).toEqual([
      'not-found',
      'repo a/b not found',
      'pachmount list'
    ]);
  });

  it('takes the reason of a Jupyter error', () => {
    const error = RequestError.of(403, '{"message": "Forbidden", "reason": "no token"}', 'Forbidden');
    expect(error.message).toBe('no token');
  });

  it('takes plain text, and the status text for nothing', () => {
    expect(RequestError.of(500, 'oh\n', 'x').message).toBe('oh');
    expect(RequestError.of(500, '', 'Internal Server Error').message).toBe('Internal Server Error');
  });
});
