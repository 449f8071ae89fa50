// Says what a file is by its first bytes; names lie (ImageNet has a PNG named .JPEG).

/** How many bytes `sniff` looks at, at most. */
export const SNIFF_BYTES = 512;

export type Sniffed =
  /** We decode it. */
  | { readonly kind: 'image'; readonly what: string }
  /** An image, but of a format we do not decode. */
  | { readonly kind: 'unsupported'; readonly what: string }
  | { readonly kind: 'other'; readonly what: string };

/** Formats by a signature at an offset; `latin1`, so that a character is a byte. */
const SIGNATURES: readonly (readonly [kind: Sniffed['kind'], what: string, offset: number, bytes: string])[] = [
  ['image', 'JPEG', 0, '\xff\xd8\xff'],
  ['image', 'PNG', 0, '\x89PNG\r\n\x1a\n'],
  ['image', 'GIF', 0, 'GIF8'],
  ['image', 'WebP', 8, 'WEBP'],
  ['image', 'TIFF', 0, 'II*\0'],
  ['image', 'TIFF', 0, 'MM\0*'],
  ['image', 'AVIF', 4, 'ftypavif'],
  ['unsupported', 'HEIC', 4, 'ftyphe'],
  ['unsupported', 'HEIF', 4, 'ftypmif1'],
  ['unsupported', 'BMP', 0, 'BM'],
  ['unsupported', 'JPEG 2000', 4, 'jP  \r\n\x87\n'],
  ['unsupported', 'JPEG XL', 0, '\xff\x0a'],
  ['unsupported', 'JPEG XL', 4, 'JXL \r\n\x87\n'],
  ['unsupported', 'Photoshop', 0, '8BPS'],
  ['unsupported', 'icon', 0, '\0\0\x01\0'],
  ['other', 'PDF', 0, '%PDF-'],
  ['other', 'zip archive', 0, 'PK\x03\x04'],
  ['other', 'gzip', 0, '\x1f\x8b'],
  ['other', 'zstd', 0, '\x28\xb5\x2f\xfd'],
  ['other', 'tar archive', 257, 'ustar'],
  ['other', 'Git LFS pointer', 0, 'version https://git-lfs'],
];

/** Text by what it begins with, in lower case. */
const TEXTS: readonly (readonly [what: string, begins: RegExp])[] = [
  ['HTML', /^(<!doctype html|<html)/],
  ['SVG', /^(<\?xml[\s\S]*)?<svg/],
  ['XML', /^<\?xml/],
  ['JSON', /^[[{]\s*["[{\d\]}]/],
];

export function sniff(file: Uint8Array): Sniffed {
  const head = Buffer.from(file.buffer, file.byteOffset, Math.min(file.byteLength, SNIFF_BYTES)).toString('latin1');
  for (const [kind, what, offset, bytes] of SIGNATURES)
    if (head.startsWith(bytes, offset) && (what !== 'WebP' || head.startsWith('RIFF'))) return { kind, what };
  if (/^[\0\s]*$/.test(head)) return { kind: 'other', what: 'only blanks or zeros' };
  // Printable ASCII, white space and anything that may be UTF-8.
  if (/^[\t\n\f\r\x20-\x7e\x80-\xff]*$/.test(head) && isUtf8(file)) {
    const text = head
      .replace(/^\xef\xbb\xbf/, '')
      .trimStart()
      .toLowerCase();
    return { kind: 'other', what: TEXTS.find(([, begins]) => begins.test(text))?.[0] ?? 'text' };
  }
  const bytes = [...file.subarray(0, 4)].map((byte) => byte.toString(16).padStart(2, '0'));
  return { kind: 'other', what: `unknown bytes (${bytes.join(' ')} …)` };
}

/** Whether the head is UTF-8, a character cut at its end allowed. */
function isUtf8(file: Uint8Array): boolean {
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(file.subarray(0, SNIFF_BYTES), { stream: true });
    return true;
  } catch {
    return false;
  }
}
