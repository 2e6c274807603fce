import "./no-eval.ts";
import { StrictMode, useEffect, useState } from "react";
import { createRoot } from "react-dom/client";
import { Chat } from "./chat.tsx";
import { type Conversation, freshConversation, loadConversations, saveConversations, titleOf } from "./conversations.ts";

function App() {
  const [models, setModels] = useState<string[]>([]);
  const [problem, setProblem] = useState<string | null>(null);
  const [kept, setKept] = useState(loadConversations);
  const [open, setOpen] = useState<Conversation>(() => kept[0] ?? freshConversation(""));
  useEffect(() => {
    void fetch("/api/models").then(
      async (answer) => {
        const said = (await answer.json()) as string[] | { message: string };
        if (Array.isArray(said)) setModels(said);
        else setProblem(said.message);
      },
      () => setProblem("This app can't be reached. Check your connection."),
    );
  }, []);
  const change = (changed: Conversation): void => {
    setOpen((now) => (now.id === changed.id ? changed : now));
    if (changed.messages.length === 0) return;
    setKept((now) => {
      const next = [changed, ...now.filter(({ id }) => id !== changed.id)];
      saveConversations(next);
      return next;
    });
  };
  const forget = (id: string): void => {
    const next = kept.filter((each) => each.id !== id);
    saveConversations(next);
    setKept(next);
    if (open.id === id) setOpen(freshConversation(open.model));
  };
  const model = models.includes(open.model) ? open.model : (models[0] ?? "");
  return (
    <>
      <header>
        <h1>Chat</h1>
        <button onClick={() => setOpen(freshConversation(model))}>New conversation</button>
      </header>
      <nav aria-label="Conversations">
        <ul>
          {kept.map((each) => (
            <li key={each.id}>
              <button aria-current={each.id === open.id} onClick={() => setOpen(each)}>
                {titleOf(each)}
              </button>
              <button aria-label={`Delete ${titleOf(each)}`} onClick={() => forget(each.id)}>
                ×
              </button>
            </li>
          ))}
        </ul>
      </nav>
      {problem !== null && (
        <p className="fault" role="alert">
          {problem}
        </p>
      )}
      <Chat key={open.id} conversation={{ ...open, model }} models={models} onChange={change} />
    </>
  );
}

const root = document.getElementById("app");
if (root !== null) {
  createRoot(root).render(
    <StrictMode>
      <App />
    </StrictMode>,
  );
}
