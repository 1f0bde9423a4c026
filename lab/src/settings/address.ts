/** What is typed to reach a cluster: its address and its certificates. */

/** With what an address begins. */
export const SCHEMES = ['grpc', 'grpcs', 'http', 'https', 'unix'];

/** Whether a text without spaces around it begins as an address does; whether it leads anywhere the daemon finds out. */
export function hasScheme(address: string): boolean {
  return SCHEMES.some(scheme => address.startsWith(`${scheme}://`));
}

/** Certificates as the daemon takes them: PEM in base64. What is no PEM is thought to be in base64 already. */
export function encodeCertificates(text: string): string {
  if (!text.includes('-----BEGIN')) {
    return text.replace(/\s/g, '');
  }
  const bytes = new TextEncoder().encode(text.trim() + '\n');
  return btoa(Array.from(bytes, byte => String.fromCharCode(byte)).join(''));
}
