/** What workerd writes to its log where a Worker ends a connection by breaking off a body: the launcher does not show these lines. */
export const CONNECTION_ENDS = "A refused stranger's connection ends here.";
