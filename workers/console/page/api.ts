/** The edge's own API as this page asks it: same origin, with the key in a header. */
const ANSWER_MS = 10_000;

export type Asked<T> = { ok: true; value: T } | { ok: false; status: number | null; message: string };

export const headersOf = (key: string): Record<string, string> => ({ authorization: `Bearer ${key}` });

/** What an answer that is no success says. */
export async function messageOf(answer: Response): Promise<string> {
  const body = (await answer.json().catch(() => null)) as { error?: { message?: string } } | null;
  return body?.error?.message ?? `The edge answered ${answer.status}.`;
}

export async function ask<T>(key: string, path: string): Promise<Asked<T>> {
  try {
    const answer = await fetch(path, { headers: headersOf(key), signal: AbortSignal.timeout(ANSWER_MS) });
    if (!answer.ok) return { ok: false, status: answer.status, message: await messageOf(answer) };
    return { ok: true, value: (await answer.json()) as T };
  } catch {
    return { ok: false, status: null, message: "The edge does not answer." };
  }
}
