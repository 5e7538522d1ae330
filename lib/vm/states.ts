// States of a VM and which of them can be exported. Source: OpenNebula's VirtualMachine.h
// (VmState, LcmState), release-7.4.0; the numbers have not changed since 5.0, new ones were appended.
import type { Vm } from './vm.ts';

const states = [
  'INIT',
  'PENDING',
  'HOLD',
  'ACTIVE',
  'STOPPED',
  'SUSPENDED',
  'DONE',
  'FAILED',
  'POWEROFF',
  'UNDEPLOYED',
  'CLONING',
  'CLONING_FAILURE',
] as const;

const lcmStates = [
  'LCM_INIT',
  'PROLOG',
  'BOOT',
  'RUNNING',
  'MIGRATE',
  'SAVE_STOP',
  'SAVE_SUSPEND',
  'SAVE_MIGRATE',
  'PROLOG_MIGRATE',
  'PROLOG_RESUME',
  'EPILOG_STOP',
  'EPILOG',
  'SHUTDOWN',
  'CANCEL',
  'FAILURE',
  'CLEANUP_RESUBMIT',
  'UNKNOWN',
  'HOTPLUG',
  'SHUTDOWN_POWEROFF',
  'BOOT_UNKNOWN',
  'BOOT_POWEROFF',
  'BOOT_SUSPENDED',
  'BOOT_STOPPED',
  'CLEANUP_DELETE',
  'HOTPLUG_SNAPSHOT',
  'HOTPLUG_NIC',
  'HOTPLUG_SAVEAS',
  'HOTPLUG_SAVEAS_POWEROFF',
  'HOTPLUG_SAVEAS_SUSPENDED',
  'SHUTDOWN_UNDEPLOY',
  'EPILOG_UNDEPLOY',
  'PROLOG_UNDEPLOY',
  'BOOT_UNDEPLOY',
  'HOTPLUG_PROLOG_POWEROFF',
  'HOTPLUG_EPILOG_POWEROFF',
  'BOOT_MIGRATE',
  'BOOT_FAILURE',
  'BOOT_MIGRATE_FAILURE',
  'PROLOG_MIGRATE_FAILURE',
  'PROLOG_FAILURE',
  'EPILOG_FAILURE',
  'EPILOG_STOP_FAILURE',
  'EPILOG_UNDEPLOY_FAILURE',
  'PROLOG_MIGRATE_POWEROFF',
  'PROLOG_MIGRATE_POWEROFF_FAILURE',
  'PROLOG_MIGRATE_SUSPEND',
  'PROLOG_MIGRATE_SUSPEND_FAILURE',
  'BOOT_UNDEPLOY_FAILURE',
  'BOOT_STOPPED_FAILURE',
  'PROLOG_RESUME_FAILURE',
  'PROLOG_UNDEPLOY_FAILURE',
  'DISK_SNAPSHOT_POWEROFF',
  'DISK_SNAPSHOT_REVERT_POWEROFF',
  'DISK_SNAPSHOT_DELETE_POWEROFF',
  'DISK_SNAPSHOT_SUSPENDED',
  'DISK_SNAPSHOT_REVERT_SUSPENDED',
  'DISK_SNAPSHOT_DELETE_SUSPENDED',
  'DISK_SNAPSHOT',
  'DISK_SNAPSHOT_REVERT',
  'DISK_SNAPSHOT_DELETE',
  'PROLOG_MIGRATE_UNKNOWN',
  'PROLOG_MIGRATE_UNKNOWN_FAILURE',
  'DISK_RESIZE',
  'DISK_RESIZE_POWEROFF',
  'DISK_RESIZE_UNDEPLOYED',
  'HOTPLUG_NIC_POWEROFF',
  'HOTPLUG_RESIZE',
  'HOTPLUG_SAVEAS_UNDEPLOYED',
  'HOTPLUG_SAVEAS_STOPPED',
  'BACKUP',
  'BACKUP_POWEROFF',
  'RESTORE',
] as const;

/** `offline`: no guest runs. `running`: an export has to fix the point in time while the guest runs. */
export type Activity = 'offline' | 'running';

const active = states.indexOf('ACTIVE');

/** The state's name as OpenNebula's CLI shows it: the LCM state of an ACTIVE VM, else the state. */
export function stateName(state: number, lcmState: number): string {
  if (state === active) return lcmStates[lcmState] ?? `ACTIVE, LCM_STATE ${lcmState}`;
  return states[state] ?? `STATE ${state}`;
}

/**
 * Whether a VM in this state can be exported, and how.
 * BACKUP and BACKUP_POWEROFF are the states in which oned runs our driver actions.
 * @returns undefined when it cannot
 */
export function activityOf(state: number, lcmState: number): Activity | undefined {
  const lcm = lcmStates[lcmState];
  switch (states[state]) {
    case 'POWEROFF':
    case 'UNDEPLOYED':
      return lcm === 'LCM_INIT' || lcm === 'BACKUP_POWEROFF' ? 'offline' : undefined;
    case 'ACTIVE':
      if (lcm === 'RUNNING' || lcm === 'BACKUP') return 'running';
      // OpenNebula 6.10 keeps STATE 3 while a powered-off VM is backed up.
      return lcm === 'BACKUP_POWEROFF' ? 'offline' : undefined;
    default:
      return undefined;
  }
}

/** Whether oned runs the driver actions of a backup for a VM with this LCM_STATE. */
export function isInBackup(lcmState: number): boolean {
  return ['BACKUP', 'BACKUP_POWEROFF'].includes(lcmStates[lcmState] ?? '');
}

/** LCM states of work after which a VM returns to the state in which it was before. */
const passing =
  /^(?:BACKUP|RESTORE|HOTPLUG|DISK_SNAPSHOT|DISK_RESIZE)|^(?:MIGRATE|UNKNOWN|PROLOG_MIGRATE_POWEROFF)$/;

/**
 * Tells whether a VM that has just reached a state only returned to it after some work of OpenNebula: a backup, a restore in
 * place, a snapshot, a disk or NIC that was attached, a migration, a gap in its monitoring, or a pause outside of OpenNebula,
 * such as an export with --fs-freeze suspend.
 * @param previous PREV_STATE and PREV_LCM_STATE as a hook gets them: those before the change that has started the hook
 * @returns the name of that work; undefined when the state is new
 */
export function workBefore(
  now: Pick<Vm, 'state' | 'lcmState' | 'history'>,
  previous: { readonly state: number; readonly lcmState: number } | undefined,
): string | undefined {
  if (previous === undefined) return undefined;
  const name = stateName(previous.state, previous.lcmState);
  if (name === 'SUSPENDED' && now.history?.foundAgain === true) return name;
  if (previous.state !== active) return undefined;
  // A guest that was not monitored, and is off now, may have been powered off by its user.
  if (name === 'UNKNOWN' && now.state !== active) return undefined;
  return passing.test(name) ? name : undefined;
}
