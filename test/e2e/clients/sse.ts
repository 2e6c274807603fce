/** Server-sent events as text: every block is whole, or this throws. */
export interface ServerSentEvent {
  event: string | null;
  data: string;
}

export function eventsOf(text: string): ServerSentEvent[] {
  if (text !== "" && !text.endsWith("\n\n")) throw new Error(`The stream ends within an event: ${JSON.stringify(text.slice(-80))}`);
  return text.split("\n\n").flatMap((block): ServerSentEvent[] => {
    let event: string | null = null;
    const data: string[] = [];
    for (const line of block.split("\n")) {
      if (line === "" || line.startsWith(":")) continue;
      if (line.startsWith("event: ")) event = line.slice(7);
      else if (line.startsWith("data: ")) data.push(line.slice(6));
      else throw new Error(`A line of a stream is neither event, data nor comment: ${JSON.stringify(line)}`);
    }
    return data.length === 0 ? [] : [{ event, data: data.join("\n") }];
  });
}
