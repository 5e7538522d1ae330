/** The prefix of everything this tool makes. DO NOT CHANGE: other runs and `cleanup` know their own by it. */
export const ownPrefix = 'onevmdump-';
