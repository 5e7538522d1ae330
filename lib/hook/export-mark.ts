// The attribute by which a VM's owner asks for exports by hooks.

/** Its name in the user template; the value is YES or NO. */
export const exportKey = 'ONEVMDUMP_EXPORT';

/** The message about a VM without it. */
export function notMarkedMessage(vmId: number | string): string {
  return `VM ${vmId} is not marked by ${exportKey} = "YES": nothing to do`;
}
