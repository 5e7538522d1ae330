// VM XML for disks that are plain files under a datastore location, without asking the sandbox.
import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';

export interface FileDisk {
  readonly id: number;
  readonly format?: 'raw' | 'qcow2';
  readonly type?: string;
  /** More elements inside the DISK. */
  readonly more?: string;
}

export interface FileVm {
  readonly xml: string;
  /** Where the disk is to be, or is. */
  readonly path: (diskId: number) => string;
}

/** STIME of such a VM. */
export const madeAt = (vmId: number): number => 1_700_000_000 + vmId;

/** A powered-off VM of TM ssh on system datastore 0; its folder is made, its disks are the caller's. */
export async function fileVm(
  datastores: string,
  vmId: number,
  disks: readonly FileDisk[],
  options: {
    state?: number;
    lcmState?: number;
    name?: string;
    userTemplate?: string;
    vmMad?: string;
  } = {},
): Promise<FileVm> {
  const path = (diskId: number) => join(datastores, '0', String(vmId), `disk.${diskId}`);
  await mkdir(dirname(path(0)), { recursive: true });
  const elements = disks.map(
    ({ id, format = 'raw', type = 'FILE', more = '' }) => `<DISK><DISK_ID>${id}</DISK_ID>
      <TYPE>${type}</TYPE><FORMAT>${format}</FORMAT><DRIVER>${format}</DRIVER><SIZE>1</SIZE>
      <DATASTORE>default</DATASTORE><DATASTORE_ID>1</DATASTORE_ID><TM_MAD>ssh</TM_MAD><TARGET>vd${String.fromCharCode(97 + (id % 26))}</TARGET>
      ${type === 'FILE' ? `<SOURCE>${datastores}/1/image-${vmId}-${id}</SOURCE>` : ''}${more}</DISK>`,
  );
  const xml = `<VM><ID>${vmId}</ID><UID>0</UID><GID>0</GID><UNAME>oneadmin</UNAME><GNAME>oneadmin</GNAME>
    <NAME>${options.name ?? 'files'}</NAME><STATE>${options.state ?? 8}</STATE><LCM_STATE>${options.lcmState ?? 0}</LCM_STATE>
    <STIME>${madeAt(vmId)}</STIME><DEPLOY_ID>one-${vmId}</DEPLOY_ID><TEMPLATE><CPU>1</CPU><MEMORY>64</MEMORY>${elements.join('')}
    <TM_MAD_SYSTEM>ssh</TM_MAD_SYSTEM></TEMPLATE><USER_TEMPLATE>${options.userTemplate ?? ''}</USER_TEMPLATE>
    <HISTORY_RECORDS><HISTORY><OID>${vmId}</OID><SEQ>0</SEQ><HOSTNAME>localhost</HOSTNAME>
    <VM_MAD>${options.vmMad ?? 'kvm'}</VM_MAD><TM_MAD>ssh</TM_MAD><DS_ID>0</DS_ID></HISTORY></HISTORY_RECORDS></VM>`;
  return { xml, path };
}
