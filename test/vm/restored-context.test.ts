import { describe, expect, test } from '@jest/globals';
import { parseVm } from '../../lib/vm/vm-xml.ts';
import { child, childText, type XmlElement } from '../../lib/xml/xml.ts';
import { fileSources } from '../../lib/vm/restored-context.ts';
import type { Vm } from '../../lib/vm/vm.ts';
import { names, restore, restoreAll, values, vmWith } from './template-of.ts';

/** What oned makes of a value in the template: names are replaced once, escaped dollars stay. */
function evaluated(template: XmlElement, value: string): string {
  return value.replaceAll(/\\[^]|\$(\w+)/g, (all: string, name?: string) =>
    name === undefined ? all : (childText(template, name) ?? ''),
  );
}

const contextWith = (name: string, value: string) =>
  vmWith(`<CONTEXT><TARGET>hda</TARGET><${name}><![CDATA[${value}]]></${name}></CONTEXT>`);

describe('CONTEXT of the restored template', () => {
  test.each([
    'for i in $LIST; do echo ${i}; done',
    String.raw`echo \$i and \\$HOME`,
    '$',
    'costs 5$',
    '$NETWORK[IP]',
  ])('the value %j of CONTEXT is the same after oned has evaluated it', (value) => {
    const template = restore(contextWith('START_SCRIPT', value));
    const written = childText(child(template, 'CONTEXT')!, 'START_SCRIPT')!;
    expect(written).toBe('$ONEVMDUMP_CONTEXT_START_SCRIPT');
    expect(evaluated(template, written)).toBe(value);
  });

  test.each([String.raw`echo \$i`, String.raw`C:\\`, 'no dollar', ''])(
    'the value %j of CONTEXT stays where it is, since oned does not change it',
    (value) => {
      const template = restore(contextWith('START_SCRIPT', value));
      expect(childText(child(template, 'CONTEXT')!, 'START_SCRIPT')).toBe(value);
      expect(names(template)).toEqual(['NAME', 'CPU', 'CONTEXT']);
    },
  );

  test('a last backslash of a value is carried, since oned would lose it at the end of CONTEXT', () => {
    const template = restore(contextWith('ZZ', 'C:\\'));
    expect(childText(template, 'ONEVMDUMP_CONTEXT_ZZ')).toBe('C:\\');
  });

  test('a second restore does not pile up what the first one made of CONTEXT', () => {
    const vm = parseVm(
      Buffer.from(`<VM><ID>8</ID><NAME>w</NAME><STATE>8</STATE><LCM_STATE>0</LCM_STATE>
        <TEMPLATE><CONTEXT><A>$x</A></CONTEXT></TEMPLATE>
        <USER_TEMPLATE><ONEVMDUMP_CONTEXT_A>$x</ONEVMDUMP_CONTEXT_A><ONEVMDUMP_CONTEXT_B>$y</ONEVMDUMP_CONTEXT_B>
        <ONEVMDUMP_EXPORT>YES</ONEVMDUMP_EXPORT></USER_TEMPLATE></VM>`),
    );
    expect(values(restore(vm))).toEqual([
      'NAME=copy',
      'CONTEXT=',
      'ONEVMDUMP_EXPORT=YES',
      'ONEVMDUMP_CONTEXT_A=$x',
    ]);
  });

  test('names in CONTEXT that are the same in letters and digits get attributes of their own', () => {
    const vm = vmWith('<CONTEXT><A-B>$1</A-B><A.B>$2</A.B></CONTEXT>');
    expect(values(restore(vm))?.slice(3)).toEqual([
      'ONEVMDUMP_CONTEXT_A_B=$1',
      'ONEVMDUMP_CONTEXT_A_B_2=$2',
    ]);
  });

  test('requirements with a dollar are carried like CONTEXT', () => {
    const vm = parseVm(
      Buffer.from(`<VM><ID>8</ID><NAME>w</NAME><STATE>8</STATE><LCM_STATE>0</LCM_STATE><TEMPLATE/>
        <USER_TEMPLATE><SCHED_REQUIREMENTS>NAME="a$"</SCHED_REQUIREMENTS></USER_TEMPLATE></VM>`),
    );
    expect(values(restore(vm))).toEqual([
      'NAME=copy',
      'SCHED_REQUIREMENTS=$ONEVMDUMP_SCHED_REQUIREMENTS',
      'ONEVMDUMP_SCHED_REQUIREMENTS=NAME="a$"',
    ]);
  });

  test('the copy of a virtual router takes no part in its keepalived', () => {
    const vm = vmWith(
      `<VROUTER_ID>3</VROUTER_ID><CONTEXT><VROUTER_ID>3</VROUTER_ID><VROUTER_KEEPALIVED_ID>7</VROUTER_KEEPALIVED_ID>
       <VROUTER_KEEPALIVED_PASSWORD>p</VROUTER_KEEPALIVED_PASSWORD><ETH0_VROUTER_IP>10.0.0.1</ETH0_VROUTER_IP>
       <ETH0_ALIAS0_VROUTER_IP6>::1</ETH0_ALIAS0_VROUTER_IP6><SSH_PUBLIC_KEY>k</SSH_PUBLIC_KEY></CONTEXT>`,
    );
    const template = restore(vm, { nics: 'same-addresses' });
    expect(names(template)).toEqual(['NAME', 'CPU', 'CONTEXT']);
    expect(names(child(template, 'CONTEXT'))).toEqual(['SSH_PUBLIC_KEY']);
  });

  test("values of CONTEXT that oned writes again for NICs and devices are left out, a user's own are kept", () => {
    const vm = vmWith(
      `<CONTEXT><NETWORK>yes</NETWORK><ETH0_IP>1</ETH0_IP><ETH0_ALIAS0_MAC>2</ETH0_ALIAS0_MAC><ETH12_ROUTES>3</ETH12_ROUTES>
       <PCI0_ADDRESS>01:01.0</PCI0_ADDRESS><PCI0_IP>4</PCI0_IP><ETH0_COMMENT>5</ETH0_COMMENT></CONTEXT>`,
    );
    expect(names(child(restore(vm), 'CONTEXT'))).toEqual(['NETWORK', 'ETH0_COMMENT']);
  });

  describe('files of datastores', () => {
    const stored = "/ds/2/6eb6:'init.sh' /ds/2/77:'my file' ";
    const vm = vmWith(`<CONTEXT><TARGET>hda</TARGET><FILES_DS>${stored}</FILES_DS></CONTEXT>`);
    const filesDs = (of: Vm, files?: ReadonlyMap<string, number>) => {
      const { xml, warnings } = restoreAll(of, files && { files });
      return { value: childText(child(xml, 'CONTEXT')!, 'FILES_DS'), warnings };
    };

    test('files of datastores in a restored CONTEXT are named by their images', () => {
      expect(fileSources(vm)).toEqual(['/ds/2/6eb6', '/ds/2/77']);
      const files = new Map([
        ['/ds/2/6eb6', 3],
        ['/ds/2/77', 4],
      ]);
      expect(filesDs(vm, files)).toEqual({
        value: '$FILE[IMAGE_ID=3] $FILE[IMAGE_ID=4]',
        warnings: [],
      });
    });

    test('files of datastores in a restored CONTEXT are left out with a warning where OpenNebula has no such image', () => {
      const some = filesDs(vm, new Map([['/ds/2/77', 4]]));
      expect(some.value).toBe('$FILE[IMAGE_ID=4]');
      expect(some.warnings).toEqual([
        'CONTEXT/FILES_DS: the VM is restored without the file init.sh, because OpenNebula has no image at /ds/2/6eb6; add $FILE[IMAGE_ID=...] to the template',
      ]);
      expect(filesDs(vm).value).toBeUndefined();
      expect(filesDs(vm).warnings).toHaveLength(2);
    });

    test('files of datastores in a restored CONTEXT are kept as they are where they are named as oned takes them', () => {
      const named = vmWith('<CONTEXT><FILES_DS>$FILE[IMAGE_ID=5]</FILES_DS></CONTEXT>');
      expect(filesDs(named)).toEqual({ value: '$FILE[IMAGE_ID=5]', warnings: [] });
    });

    test('the kernel and initrd of a restored template are named by their images, without what oned found out about them', () => {
      const boot = vmWith(
        `<OS><KERNEL_DS>$FILE[IMAGE=k]</KERNEL_DS><KERNEL_DS_ID>8</KERNEL_DS_ID><KERNEL_DS_SOURCE>/ds/2/k</KERNEL_DS_SOURCE>
         <KERNEL_DS_DSID>2</KERNEL_DS_DSID><KERNEL_DS_TM>ssh</KERNEL_DS_TM><KERNEL_DS_CLUSTER_ID>0</KERNEL_DS_CLUSTER_ID></OS>`,
      );
      expect(fileSources(boot)).toEqual(['/ds/2/k']);
      expect(values(child(restore(boot), 'OS'))).toEqual(['KERNEL_DS=$FILE[IMAGE=k]']);
      const known = restore(boot, { files: new Map([['/ds/2/k', 8]]) });
      expect(values(child(known, 'OS'))).toEqual(['KERNEL_DS=$FILE[IMAGE_ID=8]']);
    });
  });
});
