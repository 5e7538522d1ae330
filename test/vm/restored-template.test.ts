import { describe, expect, test } from '@jest/globals';
import { parseVm } from '../../lib/vm/vm-xml.ts';
import { child, childrenOf, childText } from '../../lib/xml/xml.ts';
import type { TemplateOptions } from '../../lib/vm/restored-template.ts';
import { diskXml, names, restore, vmWith } from './template-of.ts';

describe('the restored template', () => {
  test('the restored template keeps what a user gave and leaves out what oned generates', () => {
    const vm = vmWith(
      `<VCPU>2</VCPU><MEMORY>512</MEMORY><AUTOMATIC_REQUIREMENTS>x</AUTOMATIC_REQUIREMENTS>
       <GRAPHICS><TYPE>VNC</TYPE><PORT>5908</PORT></GRAPHICS><OS><ARCH>x86_64</ARCH><UUID>u</UUID></OS>
       <RAW><TYPE>kvm</TYPE><DATA>&lt;x/&gt;</DATA></RAW><PCI><CLASS>0300</CLASS><ADDRESS>1</ADDRESS></PCI>`,
    );
    const template = restore(vm);
    expect(template.name).toBe('VMTEMPLATE');
    expect(names(template)).toEqual([
      'NAME',
      'CPU',
      'VCPU',
      'MEMORY',
      'GRAPHICS',
      'OS',
      'RAW',
      'PCI',
    ]);
    expect(names(child(template, 'GRAPHICS'))).toEqual(['TYPE']);
    expect(names(child(template, 'OS'))).toEqual(['ARCH']);
    expect(names(child(template, 'PCI'))).toEqual(['CLASS']);
    expect(childText(child(template, 'RAW')!, 'DATA')).toBe('<x/>');
  });

  test('the restored template gives each disk its restored image and keeps its other attributes', () => {
    const [disk] = childrenOf(restore(vmWith(diskXml(3))), 'DISK');
    expect(disk!.children.map(({ name, text }) => `${name}=${text}`)).toEqual([
      'IMAGE_ID=103',
      'DEV_PREFIX=vd',
      'TARGET=vdd',
      'CACHE=writeback',
    ]);
  });

  test('the restored template does not have a volatile disk with data formatted', () => {
    const vm = vmWith(
      '<DISK><DISK_ID>0</DISK_ID><TYPE>fs</TYPE><FORMAT>raw</FORMAT><SIZE>512</SIZE><FS>ext4</FS></DISK>',
    );
    const disk = vm.disks[0]!;
    const asImage = restore(vm, { disks: [{ disk, as: 'image', imageId: 5 }] });
    expect(JSON.stringify(asImage)).not.toContain('ext4');
    const fresh = restore(vm, { disks: [{ disk, as: 'volatile' }] });
    expect(JSON.stringify(fresh)).toContain('ext4');
  });

  test('the restored template gives a fresh volatile disk its type, format and size again', () => {
    const vm = vmWith(
      '<DISK><DISK_ID>1</DISK_ID><TYPE>swap</TYPE><SIZE>16</SIZE><FORMAT>raw</FORMAT></DISK>',
    );
    const template = restore(vm, { disks: [{ disk: vm.disks[0]!, as: 'volatile' }] });
    expect(names(child(template, 'DISK'))).toEqual(['TYPE', 'SIZE', 'FORMAT']);
  });

  test('the restored template renumbers the boot order, since oned numbers the new disks from 0', () => {
    const vm = vmWith(
      `${diskXml(2)}${diskXml(9)}<NIC><NIC_ID>3</NIC_ID><NETWORK_ID>0</NETWORK_ID></NIC>
       <OS><BOOT>disk9, NIC3,disk2,disk5,nic0,hd</BOOT></OS>`,
    );
    const boot = (options: Partial<TemplateOptions>) =>
      childText(child(restore(vm, options), 'OS')!, 'BOOT');
    expect(boot({ nics: 'same-addresses' })).toBe('disk1,nic0,disk0');
    expect(boot({})).toBe('disk1,disk0');
  });

  test('the restored template has no boot order when nothing of it is restored, since oned would refuse it', () => {
    const vm = vmWith('<OS><ARCH>x86_64</ARCH><BOOT>nic0</BOOT></OS>');
    expect(names(child(restore(vm), 'OS'))).toEqual(['ARCH']);
  });

  test('the restored template drops the network values of CONTEXT only when oned will make them again', () => {
    const values = '<DISK_ID>1</DISK_ID><ETH0_IP>10.0.0.1</ETH0_IP><SET_HOSTNAME>a</SET_HOSTNAME>';
    const made = restore(vmWith(`<CONTEXT><NETWORK>YES</NETWORK>${values}</CONTEXT>`));
    expect(names(child(made, 'CONTEXT'))).toEqual(['NETWORK', 'SET_HOSTNAME']);
    const own = restore(vmWith(`<CONTEXT>${values}</CONTEXT>`));
    expect(names(child(own, 'CONTEXT'))).toEqual(['ETH0_IP', 'SET_HOSTNAME']);
  });

  test('the restored template turns the memory of pinned NUMA nodes back into MiB', () => {
    const node =
      '<NUMA_NODE><TOTAL_CPUS>2</TOTAL_CPUS><MEMORY>524288</MEMORY><CPUS>1,2</CPUS></NUMA_NODE>';
    const pinned = restore(vmWith(`<TOPOLOGY><PIN_POLICY>CORE</PIN_POLICY></TOPOLOGY>${node}`));
    const [kept] = childrenOf(pinned, 'NUMA_NODE');
    expect(kept!.children.map(({ text }) => text)).toEqual(['2', '512']);
    const free = restore(vmWith(`<TOPOLOGY><PIN_POLICY>NONE</PIN_POLICY></TOPOLOGY>${node}`));
    expect(childrenOf(free, 'NUMA_NODE')).toEqual([]);
  });

  test('the restored template keeps scheduled actions that lie ahead or repeat, and drops past ones', () => {
    const action = (time: string, more = '') =>
      `<SCHED_ACTION><ID>1</ID><ACTION>terminate</ACTION><TIME>${time}</TIME>${more}</SCHED_ACTION>`;
    const vm = vmWith(
      '',
      `<SCHED_ACTIONS>${action('1700000000')}${action('1900000000')}${action('1700000000', '<REPEAT>0</REPEAT>')}${action('+60')}</SCHED_ACTIONS>`,
    );
    const kept = childrenOf(restore(vm), 'SCHED_ACTION');
    expect(kept.map((one) => childText(one, 'TIME'))).toEqual(['1900000000', '1700000000', '+60']);
    expect(names(kept[0])).toEqual(['ACTION', 'TIME']);
  });

  test('the restored template keeps the backup settings without the history of backups', () => {
    const vm = vmWith(
      '',
      '<BACKUPS><BACKUP_CONFIG><KEEP_LAST>3</KEEP_LAST><LAST_BACKUP_ID>9</LAST_BACKUP_ID></BACKUP_CONFIG></BACKUPS>',
    );
    expect(names(child(restore(vm), 'BACKUP_CONFIG'))).toEqual(['KEEP_LAST']);
  });

  test('the restored template carries every string of the user template unchanged', () => {
    const value = `it's "quoted" \\ $(id) \`id\`\n<&> 🐧`;
    const vm = parseVm(
      Buffer.from(`<VM><ID>8</ID><NAME>w</NAME><STATE>8</STATE><LCM_STATE>0</LCM_STATE><TEMPLATE/>
        <USER_TEMPLATE><NOTE><![CDATA[${value}]]></NOTE><ERROR>old</ERROR></USER_TEMPLATE></VM>`),
    );
    const template = restore(vm);
    expect(childText(template, 'NOTE')).toBe(value);
    expect(child(template, 'ERROR')).toBeUndefined();
  });

  test('the restored template has no vector attribute without values, since oned refuses it', () => {
    const vm = vmWith(
      '<OS><UUID>u</UUID></OS><GRAPHICS><PORT>5900</PORT></GRAPHICS><FEATURES/><RAW/>',
    );
    expect(names(restore(vm))).toEqual(['NAME', 'CPU']);
    const onlyNic = vmWith('<OS><UUID>u</UUID><BOOT>nic0</BOOT></OS>');
    expect(names(restore(onlyNic))).toEqual(['NAME', 'CPU']);
  });

  test('the restored template keeps an empty value of the user template, and no empty vector that oned would take', () => {
    const vm = parseVm(
      Buffer.from(`<VM><ID>8</ID><NAME>w</NAME><STATE>8</STATE><LCM_STATE>0</LCM_STATE><TEMPLATE/>
        <USER_TEMPLATE><NOTE></NOTE><OS></OS></USER_TEMPLATE></VM>`),
    );
    expect(names(restore(vm))).toEqual(['NAME', 'NOTE']);
  });

  test('the restored template leaves out the password that oned made, and keeps one that the user chose', () => {
    const graphics = (more: string) =>
      names(
        child(
          restore(vmWith(`<GRAPHICS><TYPE>vnc</TYPE><PASSWD>x</PASSWD>${more}</GRAPHICS>`)),
          'GRAPHICS',
        ),
      );
    expect(graphics('<RANDOM_PASSWD>YES</RANDOM_PASSWD>')).toEqual(['TYPE', 'RANDOM_PASSWD']);
    expect(graphics('')).toEqual(['TYPE', 'PASSWD']);
  });

  test('the restored template leaves out what the datastore gives a disk, so that the new datastore can give its own', () => {
    const vm = vmWith(
      diskXml(
        0,
        `<PERSISTENT_SNAPSHOTS>YES</PERSISTENT_SNAPSHOTS><LVM_THIN_ENABLE>YES</LVM_THIN_ENABLE>
         <QCOW2_STANDALONE>NO</QCOW2_STANDALONE><SPARSE>YES</SPARSE><CEPH_TRASH>YES</CEPH_TRASH>
         <SHAREABLE>YES</SHAREABLE><LUKS_SECRET>s</LUKS_SECRET><SERIAL>8-0</SERIAL>`,
      ),
    );
    expect(names(child(restore(vm), 'DISK'))).toEqual([
      'IMAGE_ID',
      'DEV_PREFIX',
      'TARGET',
      'CACHE',
      'LUKS_SECRET',
      'SERIAL',
    ]);
  });

  test('the restored template restores a shared file system (TYPE FILESYSTEM) with its mount point and tag', () => {
    const vm = vmWith(
      `<DISK><DISK_ID>1</DISK_ID><TYPE>FILESYSTEM</TYPE><FORMAT>dir</FORMAT><DRIVER>dir</DRIVER><IMAGE_ID>9</IMAGE_ID>
        <SOURCE>/s/9</SOURCE><SIZE>10</SIZE><READONLY>NO</READONLY><MOUNT_TAG>t</MOUNT_TAG><MOUNT_POINT>/mnt/a</MOUNT_POINT></DISK>
       <CONTEXT><TARGET>hda</TARGET><DISK1_MOUNT_TAG>t</DISK1_MOUNT_TAG><DISK1_MOUNT_POINT>/mnt/a</DISK1_MOUNT_POINT></CONTEXT>`,
    );
    const template = restore(vm, { disks: [{ disk: vm.disks[0]!, as: 'image', imageId: 9 }] });
    const disk = child(template, 'DISK');
    expect(names(disk)).toEqual(['IMAGE_ID', 'MOUNT_TAG', 'MOUNT_POINT']);
    expect(names(child(template, 'CONTEXT'))).toEqual(['TARGET']);
  });

  test('the restored template leaves out what oned and OneFlow noted of the old VM', () => {
    const vm = vmWith(
      `<QEMU_GA_EXEC><COMMAND>cat /etc/shadow</COMMAND></QEMU_GA_EXEC><CREATED_BY>5</CREATED_BY><IMPORTED>YES</IMPORTED>
       <RESIZE><CPU>9</CPU></RESIZE><VNET_UPDATE><MTU>9000</MTU></VNET_UPDATE><ROLE_NAME>r</ROLE_NAME><SERVICE_ID>7</SERVICE_ID>
       <DEPLOY_ID>one-3</DEPLOY_ID><AS_UID>0</AS_UID><AS_GID>0</AS_GID>`,
    );
    expect(names(restore(vm))).toEqual(['NAME', 'CPU']);
  });

  test('the restored template does not bring to life a device that was only a note in the user template', () => {
    const vm = parseVm(
      Buffer.from(`<VM><ID>8</ID><NAME>w</NAME><STATE>8</STATE><LCM_STATE>0</LCM_STATE><TEMPLATE/>
        <USER_TEMPLATE><NIC><NETWORK_ID>0</NETWORK_ID></NIC><PCI><CLASS>0300</CLASS></PCI>
        <DISK><IMAGE_ID>5</IMAGE_ID></DISK></USER_TEMPLATE></VM>`),
    );
    expect(names(restore(vm, { nics: 'same-addresses' }))).toEqual(['NAME']);
  });

  test('the restored template asks for a PCI device by its kind and not by its address, since oned takes only one of them', () => {
    const pci = (inner: string) => names(child(restore(vmWith(`<PCI>${inner}</PCI>`)), 'PCI'));
    const address = '<SHORT_ADDRESS>01:00.0</SHORT_ADDRESS>';
    expect(pci(`${address}<VENDOR>10de</VENDOR><DEVICE>1eb8</DEVICE><CLASS>0302</CLASS>`)).toEqual([
      'VENDOR',
      'DEVICE',
      'CLASS',
    ]);
    expect(pci(address)).toEqual(['SHORT_ADDRESS']);
  });

  test('the restored template does not name the pin policy that oned gave a VM that is not pinned', () => {
    const vm = vmWith(
      '<TOPOLOGY><PIN_POLICY>NONE</PIN_POLICY><SOCKETS>1</SOCKETS><CORES>2</CORES><THREADS>1</THREADS></TOPOLOGY>',
    );
    expect(names(child(restore(vm), 'TOPOLOGY'))).toEqual(['SOCKETS', 'CORES', 'THREADS']);
    const half = vmWith('<TOPOLOGY><PIN_POLICY>NONE</PIN_POLICY><SOCKETS>1</SOCKETS></TOPOLOGY>');
    expect(child(restore(half), 'TOPOLOGY')).toBeUndefined();
  });

  test('the restored template keeps the distances between pinned NUMA nodes', () => {
    const vm = vmWith(
      `<TOPOLOGY><PIN_POLICY>CORE</PIN_POLICY></TOPOLOGY>
       <NUMA_NODE><DISTANCE>1:20</DISTANCE><TOTAL_CPUS>2</TOTAL_CPUS><MEMORY>524288</MEMORY><NODE_ID>0</NODE_ID></NUMA_NODE>`,
    );
    expect(names(child(restore(vm), 'NUMA_NODE'))).toEqual(['DISTANCE', 'TOTAL_CPUS', 'MEMORY']);
  });

  test('the restored template backs up the same disks, by their new numbers, and only those that oned backs up', () => {
    const config = (more: string) =>
      `<BACKUPS><BACKUP_CONFIG><DISK_IDS>9,1,4,2</DISK_IDS><INTERACTIVE>YES</INTERACTIVE>${more}</BACKUP_CONFIG></BACKUPS>`;
    const volatile = '<DISK><DISK_ID>4</DISK_ID><TYPE>fs</TYPE><SIZE>9</SIZE></DISK>';
    const ids = (more: string) => {
      const vm = vmWith(`${diskXml(2)}${volatile}${diskXml(9)}`, config(more));
      const disks: TemplateOptions['disks'] = vm.disks.map((disk) =>
        disk.id === 4 ? { disk, as: 'volatile' } : { disk, as: 'image', imageId: 100 },
      );
      const made = child(restore(vm, { disks }), 'BACKUP_CONFIG')!;
      expect(childText(made, 'INTERACTIVE')).toBe('YES');
      return childText(made, 'DISK_IDS');
    };
    expect(ids('')).toBe('2,0');
    expect(ids('<BACKUP_VOLATILE>YES</BACKUP_VOLATILE>')).toBe('2,1,0');
  });

  test('the restored template renumbers the disk of a scheduled disk snapshot, and drops it with the disk', () => {
    const action = (args: string) =>
      `<SCHED_ACTION><ACTION>disk-snapshot-create</ACTION><ARGS>${args}</ARGS><TIME>+60</TIME></SCHED_ACTION>`;
    const vm = vmWith(`${diskXml(3)}${action('3,daily')}${action('1,daily')}`);
    const kept = childrenOf(restore(vm), 'SCHED_ACTION');
    expect(kept.map((one) => childText(one, 'ARGS'))).toEqual(['0,daily']);
  });
});
