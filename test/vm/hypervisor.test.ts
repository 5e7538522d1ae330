// Which VMs are refused as VMs of another hypervisor, by VM_MAD of their last history record.
import { expect, test } from '@jest/globals';
import { requireKvm } from '../../lib/vm/hypervisor.ts';
import { parseVm } from '../../lib/vm/vm-xml.ts';

const vm = (...vmMads: readonly string[]) =>
  parseVm(
    Buffer.from(
      `<VM><ID>7</ID><NAME>a</NAME><STATE>8</STATE><LCM_STATE>0</LCM_STATE><TEMPLATE/><HISTORY_RECORDS>${vmMads
        .map(
          (vmMad, seq) =>
            `<HISTORY><SEQ>${seq}</SEQ><HOSTNAME>kvm1</HOSTNAME>${vmMad}<TM_MAD>ssh</TM_MAD><DS_ID>0</DS_ID></HISTORY>`,
        )
        .join('')}</HISTORY_RECORDS></VM>`,
    ),
  );

// An administrator may give a driver of KVM any name.
test.each(['kvm', 'qemu', 'dummy', 'kvm-cluster2', 'lxc-like-but-kvm'])(
  'a VM of the driver %s can be exported',
  (vmMad) => {
    expect(() => requireKvm(vm(`<VM_MAD>${vmMad}</VM_MAD>`))).not.toThrow();
  },
);

test.each([[[]], [['']], [['<VM_MAD/>']]])(
  'a VM without a VM_MAD (%j) can be exported',
  (vmMads) => {
    expect(() => requireKvm(vm(...vmMads))).not.toThrow();
  },
);

test('the last history record says what runs a VM', () => {
  const [lxc, kvm] = ['<VM_MAD>lxc</VM_MAD>', '<VM_MAD><![CDATA[kvm]]></VM_MAD>'];
  expect(() => requireKvm(vm(lxc, kvm))).not.toThrow();
  const refused = Promise.resolve(vm(kvm, lxc)).then(requireKvm);
  return expect(refused).rejects.toMatchObject({
    code: 'unsupported-hypervisor',
    exitCode: 3,
    facts: { vmId: 7, vmMad: 'lxc' },
  });
});
