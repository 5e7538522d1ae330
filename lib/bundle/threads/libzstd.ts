// zstd by libzstd itself, which nearly every system has: Node.js before 22.15 has no zstd, and later ones are slower,
// because they copy.
import type { Foreign, ForeignLibrary } from './ffi.ts';
import { FrameDamage, type FrameDecoder, type FrameEncoder } from './frame-engine.ts';
import { requireOneZstdFrame } from './zstd-frame.ts';

// https://github.com/facebook/zstd/blob/v1.5.4/lib/zstd.h: ZSTD_cParameter
const compressionLevel = 100;
const checksumFlag = 201;

export function libzstdEncoder(
  library: ForeignLibrary,
  level: number,
  crc32: (data: Buffer) => number,
): FrameEncoder {
  const context = created(library.func('void *ZSTD_createCCtx()'));
  const setParameter = library.func('size_t ZSTD_CCtx_setParameter(void *, int, int)');
  const compress2 = library.func('size_t ZSTD_compress2(void *, void *, size_t, void *, size_t)');
  const isError = library.func('unsigned int ZSTD_isError(size_t)');
  const errorName = library.func('const char *ZSTD_getErrorName(size_t)');
  const checked = (size: number | bigint): number => {
    if (isError(size) === 0) return Number(size);
    throw new Error(`libzstd failed to compress: ${String(errorName(size))}`);
  };
  checked(setParameter(context, compressionLevel, level));
  checked(setParameter(context, checksumFlag, 1));
  return {
    name: `libzstd -${level}`,
    compress: (raw, stored) => ({
      stored: checked(compress2(context, stored, stored.length, raw, raw.length)),
      crc32: crc32(raw),
    }),
  };
}

export function libzstdDecoder(
  library: ForeignLibrary,
  crc32: (data: Buffer) => number,
): FrameDecoder {
  const context = created(library.func('void *ZSTD_createDCtx()'));
  const decompressDCtx = library.func(
    'size_t ZSTD_decompressDCtx(void *, void *, size_t, void *, size_t)',
  );
  const isError = library.func('unsigned int ZSTD_isError(size_t)');
  const errorName = library.func('const char *ZSTD_getErrorName(size_t)');
  return {
    name: 'libzstd',
    decompress(stored, raw) {
      requireOneZstdFrame(stored);
      const size = decompressDCtx(context, raw, raw.length, stored, stored.length);
      if (isError(size) !== 0) {
        throw new FrameDamage(`its data cannot be decompressed: ${String(errorName(size))}`);
      }
      if (Number(size) !== raw.length) throw new FrameDamage('it holds less than it should');
      return crc32(raw);
    },
  };
}

/** Contexts live as long as the thread. */
function created(create: Foreign): unknown {
  const context: unknown = create();
  if (context === null) throw new Error('libzstd has no memory');
  return context;
}
