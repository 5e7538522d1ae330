// The mark of a VM that its owner wants to be exported by hooks.

/** Its name in the user template; the value is YES or NO. */
export const exportKey = 'ONEVMDUMP_EXPORT';

/** What is said of a VM that has it not. */
export function notMarked(vmId: number | string): string {
  return `VM ${vmId} is not marked by ${exportKey} = "YES": nothing to do`;
}
