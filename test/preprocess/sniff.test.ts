import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sniff } from '../../preprocess/sniff.ts';
import { picture } from './photos.ts';

test('images are known by their bytes', async () => {
  const source = () => picture(16, 16);
  for (const [bytes, what] of [
    [await source().jpeg().toBuffer(), 'JPEG'],
    [await source().png().toBuffer(), 'PNG'],
    [await source().gif().toBuffer(), 'GIF'],
    [await source().webp().toBuffer(), 'WebP'],
    [await source().tiff().toBuffer(), 'TIFF'],
    [await source().avif().toBuffer(), 'AVIF'],
  ] as const)
    assert.deepEqual(sniff(bytes), { kind: 'image', what });
});

test('what is no image is told apart for the message', () => {
  for (const [text, what] of [
    ['hello, wörld', 'text'],
    ['\n <!DOCTYPE html><title>404', 'HTML'],
    ['\ufeff<html>', 'HTML'],
    ['<?xml version="1.0"?>\n<svg xmlns="', 'SVG'],
    ['<?xml version="1.0"?><Error>', 'XML'],
    ['{"error": "not found"}', 'JSON'],
    ['version https://git-lfs.github.com/spec/v1', 'Git LFS pointer'],
    ['%PDF-1.7', 'PDF'],
    ['\0\0\0\0\0', 'only blanks or zeros'],
  ] as const)
    assert.deepEqual(sniff(Buffer.from(text)), { kind: 'other', what }, text);
  assert.deepEqual(sniff(Buffer.from('ff00fe01', 'hex')), { kind: 'other', what: 'unknown bytes (ff 00 fe 01 …)' });
  assert.equal(sniff(Buffer.from('BM\x10\0\0\0')).kind, 'unsupported');
});

test('text whose last character is cut at the edge of what is looked at is text', () => {
  assert.deepEqual(sniff(Buffer.from(`${'x'.repeat(511)}é and more`)), { kind: 'other', what: 'text' });
});
