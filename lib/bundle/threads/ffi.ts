// Calls functions of shared libraries through koffi, a native module. It is used without its JavaScript part, which would
// have to be found by name: koffi-place.ts says where the file is.

/** A function of a library; sizes of 64 bit come as numbers, or as bigints above 2^53. */
export type Foreign = (...args: readonly unknown[]) => number | bigint;

interface Library {
  func(definition: string): Foreign;
}

interface Koffi {
  load(path: string): Library;
}

export class ForeignLibrary {
  readonly #library: Library;
  readonly #memcpy: Foreign;

  /**
   * @param places where koffi may be, as absolute paths
   * @param name of the library, as the dynamic linker knows it: `libisal.so.2`
   * @throws Error when koffi or the library cannot be loaded
   */
  constructor(places: readonly string[], name: string) {
    const koffi = loadKoffi(places);
    this.#library = load(koffi, name);
    this.#memcpy = load(koffi, 'libc.so.6').func('uintptr_t memcpy(void *, void *, size_t)');
  }

  /** @param definition as in C: `int isal_inflate(void *)` @throws Error when the library has no such function */
  func(definition: string): Foreign {
    try {
      return this.#library.func(definition);
    } catch (error) {
      throw new Error(`no function ${definition}: ${(error as Error).message}`, { cause: error });
    }
  }

  /** The address of the first byte. `buffer` must stay referenced while the address is used, and have its own memory. */
  address(buffer: Buffer): bigint {
    return BigInt(this.#memcpy(buffer, buffer, 0));
  }
}

function loadKoffi(places: readonly string[]): Koffi {
  const problems: string[] = [];
  for (const place of places) {
    const module = { exports: {} as Koffi };
    try {
      process.dlopen(module, place);
      return module.exports;
    } catch (error) {
      problems.push((error as Error).message);
    }
  }
  throw new Error(`koffi cannot be loaded: ${problems.join('; ') || 'it is not installed'}`);
}

function load(koffi: Koffi, name: string): Library {
  try {
    return koffi.load(name);
  } catch (error) {
    throw new Error(`${name} cannot be loaded: ${(error as Error).message}`, { cause: error });
  }
}
