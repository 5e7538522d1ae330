// Attributes of an image that are never taken from a bundle: fields of NewImage, those that oned generates,
// and those that oned acts on when they are in a template. Source: Image.cc (insert), ImageManagerActions.cc,
// RequestManagerAllocate.cc and datastore/*/{cp,stat}, OpenNebula 6.4 to 7.4.

const ownField = 'given by NewImage';
const places = 'would make oned take another file than ours, or none';
const state = 'says what happened to the old image';
const checksum = 'is of the old file, and would be checked against the new one';

/** Each attribute with its reason. */
const generatedInImage: Readonly<Record<string, string>> = {
  NAME: ownField,
  PATH: ownField,
  TYPE: ownField,
  PERSISTENT: ownField,
  DEV_PREFIX: ownField,
  DESCRIPTION: ownField,

  SOURCE: places,
  FROM_APP: places,
  FROM_APP_NAME: places,
  FROM_APP_FILE: places,
  FROM_BACKUP_DS: places,
  CLONING_ID: places,
  SAVED_DISK_ID: places,
  SAVED_IMAGE_ID: places,
  SAVED_VM_ID: places,
  SAVE_AS_HOT: places,

  DRIVER: 'the datastore decides',
  FORMAT: 'oned finds it in the file, and keeps it in a field of its own',
  FS: 'formats an empty image',
  SIZE: 'oned measures it',
  TM_MAD: 'the datastore decides',
  DISK_TYPE: 'the datastore decides',

  MD5: checksum,
  SHA1: checksum,

  ERROR: state,
  FORCE_DELETE: state,
  BACKUP_JOB_ID: state,
  VM_ID: state,
};

/** Whether an attribute of this name is left out. oned makes all names upper case: `path` would be PATH. */
export function isGeneratedInImage(name: string): boolean {
  return Object.hasOwn(generatedInImage, name.toUpperCase());
}
