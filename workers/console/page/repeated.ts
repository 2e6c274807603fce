import { useEffect, useState } from "preact/hooks";
import { ask, type Asked } from "./api.ts";

/** What a path answers, asked again every `everyMs` while the page is seen, and at once when `round` changes. One question at a time. */
export function useRepeated<T>(apiKey: string, path: string, everyMs: number, round = 0): Asked<T> | null {
  const [asked, setAsked] = useState<Asked<T> | null>(null);
  useEffect(() => {
    let isOver = false;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const again = async (): Promise<void> => {
      const answer = document.hidden ? null : await ask<T>(apiKey, path);
      if (isOver) return;
      if (answer !== null) setAsked(answer);
      timer = setTimeout(() => void again(), everyMs);
    };
    void again();
    return () => {
      isOver = true;
      clearTimeout(timer);
    };
  }, [apiKey, path, everyMs, round]);
  return asked;
}
