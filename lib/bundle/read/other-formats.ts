// Recognizes files that people give in place of a bundle, and says how to make a bundle from them. The magic numbers are from
// each format's specification and from file(1).
interface OtherFormat {
  readonly name: string;
  readonly magic: Buffer;
  /** The offset of the magic in bytes; default 0. */
  readonly offset?: number;
  /** What to do, as the end of a sentence. */
  readonly advice: string;
}

const ascii = (text: string) => Buffer.from(text, 'latin1');
const hex = (text: string) => Buffer.from(text, 'hex');

const unpack = (command: string) =>
  `decompress it to a plain tar archive, which can be read: ${command} <FILE >BUNDLE.tar`;
const repack =
  'unpack it, and pack vm.xml and the disks with: tar -czSf BUNDLE.tar.gz ./vm.xml ./backup.disk.*';
const decrypt = (command: string) => `decrypt it first: ${command}`;
const image =
  'it is the image of one disk, not a bundle; register it with: oneimage create --path FILE';

const formats: readonly OtherFormat[] = [
  { name: 'compressed by xz', magic: hex('fd377a585a00'), advice: unpack('xz -dc') },
  { name: 'compressed by lzma', magic: hex('5d00008000'), advice: unpack('xz -dc --format=lzma') },
  { name: 'compressed by bzip2', magic: ascii('BZh'), advice: unpack('bzip2 -dc') },
  { name: 'compressed by lz4', magic: hex('04224d18'), advice: unpack('lz4 -dc') },
  { name: 'compressed by lz4', magic: hex('02214c18'), advice: unpack('lz4 -dc') },
  { name: 'compressed by lzip', magic: ascii('LZIP'), advice: unpack('lzip -dc') },
  { name: 'compressed by lzop', magic: hex('894c5a4f000d0a1a0a'), advice: unpack('lzop -dc') },
  { name: 'compressed by compress', magic: hex('1f9d'), advice: unpack('gzip -dc') },
  { name: 'a zip archive', magic: ascii('PK\x03\x04'), advice: repack },
  { name: 'a zip archive', magic: ascii('PK\x05\x06'), advice: repack },
  { name: 'a 7z archive', magic: hex('377abcaf271c'), advice: repack },
  { name: 'a rar archive', magic: ascii('Rar!\x1a\x07'), advice: repack },
  { name: 'a cpio archive', magic: ascii('07070'), advice: repack },
  { name: 'encrypted by age', magic: ascii('age-encryption.org/'), advice: decrypt('age -d -i KEYFILE -o BUNDLE FILE') }, // prettier-ignore
  { name: 'encrypted by age', magic: ascii('-----BEGIN AGE ENCRYPTED FILE-----'), advice: decrypt('age -d -i KEYFILE -o BUNDLE FILE') }, // prettier-ignore
  { name: 'encrypted by OpenPGP', magic: ascii('-----BEGIN PGP MESSAGE-----'), advice: decrypt('gpg -d -o BUNDLE FILE') }, // prettier-ignore
  { name: 'encrypted by openssl', magic: ascii('Salted__'), advice: decrypt('openssl enc -d') },
  { name: 'a qcow2 image', magic: ascii('QFI\xfb'), advice: image },
  { name: 'a vmdk image', magic: ascii('KDMV'), advice: image },
  { name: 'a vmdk image', magic: ascii('# Disk DescriptorFile'), advice: image },
  { name: 'a vdi image', magic: hex('7f10dabe'), offset: 0x40, advice: image },
  { name: 'a vhdx image', magic: ascii('vhdxfile'), advice: image },
  { name: 'a vhd image', magic: ascii('conectix'), advice: image },
];

/** The number of bytes from the start of a file that `describeOther` needs. */
export const describedBytes = 512;

/** A sentence that says what a file that begins with `head` is, and what to do; undefined for an unknown format. */
export function describeOther(head: Uint8Array): string | undefined {
  const bytes = Buffer.from(head.buffer, head.byteOffset, head.length);
  if (bytes.length === 0) return 'it is empty';
  const found = formats.find(({ magic, offset = 0 }) =>
    bytes.subarray(offset, offset + magic.length).equals(magic),
  );
  return found && `it is ${found.name}; ${found.advice}`;
}
