/** A reason why oned cannot make the VM. It becomes part of oned's allocate error. */
export class VmError extends Error {
  override readonly name = 'VmError';
}
