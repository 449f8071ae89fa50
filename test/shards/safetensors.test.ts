import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { type DType, decodeTensors, encodeTensors, type RawTensor, valuesOf } from '../../shards/safetensors.ts';

const WIDTH: Record<DType, number> = { U8: 1, I32: 4, I64: 8, F32: 4, F64: 8, F16: 2, BF16: 2 };
const tensors = fc.uniqueArray(
  fc.record({
    name: fc.stringMatching(/^[a-z][a-z0-9.]{0,8}$/),
    dtype: fc.constantFrom(...(Object.keys(WIDTH) as DType[])),
    shape: fc.array(fc.nat(4), { maxLength: 4 }),
  }),
  { selector: ({ name }) => name, maxLength: 5 },
);

describe('safetensors', () => {
  it('reads back what it wrote', () => {
    fc.assert(
      fc.property(tensors, fc.dictionary(fc.string(), fc.string()), (shapes, metadata) => {
        const raw = shapes.map(({ name, dtype, shape }, i): RawTensor => {
          const bytes = shape.reduce((product, side) => product * side, WIDTH[dtype]);
          return { name, dtype, shape, data: new Uint8Array(bytes).fill(i + 1) };
        });
        const file = encodeTensors(raw, metadata);
        const back = decodeTensors(file);
        assert.deepEqual({ ...back.metadata }, { ...metadata });
        assert.deepEqual(
          [...back.tensors.keys()],
          raw.map(({ name }) => name),
        );
        for (const { name, dtype, shape, data } of raw) {
          const found = back.tensors.get(name);
          assert.ok(found);
          assert.deepEqual([found.dtype, found.shape], [dtype, shape]);
          assert.ok(Buffer.from(found.data).equals(Buffer.from(data)));
        }
      }),
    );
  });

  it('reads a header that names its tensors in another order than they lie in', () => {
    const header = JSON.stringify({
      b: { dtype: 'U8', shape: [2], data_offsets: [1, 3] },
      a: { dtype: 'U8', shape: [1], data_offsets: [0, 1] },
      none: { dtype: 'F32', shape: [0], data_offsets: [3, 3] },
    });
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(header.length));
    const { tensors: back } = decodeTensors(Buffer.concat([length, Buffer.from(header), Buffer.of(7, 8, 9)]));
    assert.deepEqual(
      [...back.values()].map(({ name, data }) => [name, ...data]),
      [['a', 7], ['b', 8, 9], ['none']],
    );
  });

  it('starts its data at a multiple of 8, so that views need no copy', () => {
    const file = encodeTensors([{ name: 'x', dtype: 'F32', shape: [2], data: new Uint8Array(8) }], { some: 'text' });
    assert.equal(Number(file.readBigUInt64LE(0)) % 8, 0);
  });

  it('refuses every truncation with one named error', () => {
    const file = encodeTensors([{ name: 'x', dtype: 'I32', shape: [3], data: new Uint8Array(12) }]);
    for (let length = 0; length < file.length; length++)
      assert.throws(() => decodeTensors(file.subarray(0, length)), { code: 'safetensors-damaged' });
    assert.throws(() => decodeTensors(Buffer.concat([file, Buffer.alloc(1)])), { code: 'safetensors-damaged' });
  });

  it('refuses to read a tensor as another dtype', () => {
    const { tensors: back } = decodeTensors(
      encodeTensors([{ name: 'x', dtype: 'I32', shape: [1], data: new Uint8Array(4) }]),
    );
    const x = back.get('x');
    assert.ok(x);
    assert.throws(() => valuesOf(x, 'F32'), { code: 'safetensors-damaged' });
    assert.deepEqual([...valuesOf(x, 'I32')], [0]);
  });
});
