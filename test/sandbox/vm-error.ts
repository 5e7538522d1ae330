/** A reason why oned cannot make the VM. It becomes part of oned's allocate error. */
export class VmError extends Error {
  override readonly name = 'VmError';
}

/** What the daemon itself does not survive: this call and all later ones get no answer. */
export class OnedDied extends Error {
  override readonly name = 'OnedDied';
}
