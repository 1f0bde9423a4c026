import { encodeCertificates, hasScheme } from '../address';
import { reportOf } from '../report';
import { someState } from '../../testing/server';

it.each(['grpc://a:1', 'grpcs://a', 'http://a', 'https://a', 'unix:///run/a.sock'])('takes %s', address => {
  expect(hasScheme(address)).toBe(true);
});

it.each(['', 'a:30650', 'ftp://a', 'grpc:/a', 'xgrpc://a', 'grpc'])('does not take "%s"', address => {
  expect(hasScheme(address)).toBe(false);
});

describe('certificates', () => {
  const PEM = '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----';

  it('become base64', () => {
    expect(atob(encodeCertificates(`  ${PEM}\n\n`))).toBe(`${PEM}\n`);
  });

  it('may have remarks in any language', () => {
    expect(encodeCertificates(`# Zürich\n${PEM}`)).toMatch(/^[A-Za-z0-9+/=]+$/);
  });

  it('may be base64 already', () => {
    expect(encodeCertificates(' TUlJ\nQg== ')).toBe('TUlJQg==');
    expect(encodeCertificates('')).toBe('');
  });
});

it('reports checks as text', () => {
  const text = reportOf(
    [
      { name: 'fuse', verdict: 'problem', found: '/dev/fuse is missing', advice: 'apt install fuse3' },
      { name: 'daemon', verdict: 'ok', found: 'running', advice: '' }
    ],
    someState()
  );
  expect(text).toContain('pachmount 0.1.0, daemon running\ncluster: connected, version 2.11.6\n');
  expect(text).toContain(
    'problem  fuse: /dev/fuse is missing\n         → apt install fuse3\nok       daemon: running\n'
  );
});
