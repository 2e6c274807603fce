/** The page at `/`: a chat beside what the pool does for it. Nothing is asked of the edge before there is a key. */
import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Chat } from "./chat.tsx";
import { Decisions } from "./decisions.tsx";
import { keepKey, takeKey } from "./key.ts";
import { Replicas } from "./replicas.tsx";

/** @param isRefused the edge did not know the last one. */
function KeyAsked({ given, isRefused }: { given: (key: string) => void; isRefused: boolean }) {
  const [typed, setTyped] = useState("");
  return (
    <section aria-labelledby="key">
      <h2 id="key">API key</h2>
      {isRefused && (
        <p class="fault" role="alert">
          The edge does not know this key. `npx warmpath key` prints the right one.
        </p>
      )}
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (typed.trim() !== "") given(typed.trim());
        }}
      >
        <input
          type="password"
          autocomplete="off"
          aria-labelledby="key"
          value={typed}
          onInput={(event) => setTyped(event.currentTarget.value)}
        />
        <div class="row">
          <button type="submit">Use this key</button>
          <span class="quiet">It stays in this tab. `npm start` prints an address that brings it.</span>
        </div>
      </form>
    </section>
  );
}

function Page() {
  const [key, setKey] = useState(() => takeKey(window));
  const [isRefused, setRefused] = useState(false);
  const [round, setRound] = useState(0);
  useEffect(() => {
    const taken = (): void => setKey(takeKey(window));
    addEventListener("hashchange", taken);
    return () => removeEventListener("hashchange", taken);
  }, []);
  const change = (next: string | null): void => {
    keepKey(next, window);
    setKey(next);
    setRefused(false);
  };
  const keyRefused = (): void => {
    change(null);
    setRefused(true);
  };
  return (
    <main>
      <header>
        <h1>Warmpath</h1>
        <span class="quiet">Each request goes to the replica that already holds its prefix.</span>
        {key !== null && (
          <button type="button" onClick={() => change(null)}>
            Forget the key
          </button>
        )}
      </header>
      {key === null ? (
        <KeyAsked given={change} isRefused={isRefused} />
      ) : (
        <>
          <Chat key={key} apiKey={key} ended={() => setRound((last) => last + 1)} keyRefused={keyRefused} />
          <aside aria-label="The pool">
            <Replicas key={key} apiKey={key} />
            <Decisions key={key} apiKey={key} round={round} />
          </aside>
        </>
      )}
    </main>
  );
}

const root = document.getElementById("page");
if (root !== null) render(<Page />, root);
