// Uses `useStream` as a page does: starts a run as one person, and answers what it asks as another.
// Arguments: URL of the API, token of who starts, token of who votes. Writes what each has seen as JSON.
import { JSDOM } from "jsdom";

const page = new JSDOM("<!doctype html><div id='root'></div>", { url: "http://localhost/" });
globalThis.window = page.window;
globalThis.document = page.window.document;
globalThis.navigator ??= page.window.navigator;

const { createElement } = await import("react");
const { createRoot } = await import("react-dom/client");
const { useStream } = await import("@langchain/langgraph-sdk/react");

const [apiUrl, starter, voter] = process.argv.slice(2);

/** Show a thread with one person's token; `act` is called with what the hook returns, after each rendering. */
function show(apiKey, threadId, act) {
  return new Promise((resolve, reject) => {
    const root = createRoot(page.window.document.createElement("div"));
    const seen = { texts: [], custom: [], values: 0 };
    let thread = threadId;
    function Page() {
      const stream = useStream({
        apiUrl,
        apiKey,
        threadId,
        assistantId: "talking",
        messagesKey: "messages",
        fetchStateHistory: true,
        reconnectOnMount: true,
        onThreadId: (id) => (thread = id),
        onCustomEvent: (data) => seen.custom.push(data),
        onError: (error) => reject(error),
      });
      const text = stream.messages.map((message) => message.content).join(" / ");
      if (seen.texts.at(-1) !== text) seen.texts.push(text);
      const done = act(stream, seen);
      if (done) {
        setTimeout(() => root.unmount());
        resolve({ ...seen, ...done, thread });
      }
      return null;
    }
    root.render(createElement(Page));
    setTimeout(() => reject(new Error(`it never came: ${JSON.stringify(seen)}`)), 60_000).unref();
  });
}

let isSent = false;
const started = await show(starter, undefined, (stream) => {
  if (!isSent && !stream.isLoading) {
    isSent = true;
    const messages = [{ type: "human", content: "Where is my lamp?" }];
    setTimeout(() => stream.submit({ messages, asks: true }, { streamMode: ["values", "messages-tuple"], streamSubgraphs: true }));
    return null;
  }
  return isSent && !stream.isLoading && stream.interrupt ? { interrupt: stream.interrupt } : null;
});

let isAnswered = false;
const answered = await show(voter, started.thread, (stream, seen) => {
  if (!isAnswered && stream.interrupt && !stream.isLoading) {
    isAnswered = true;
    seen.interrupt = stream.interrupt;
    setTimeout(() => stream.submit(undefined, { command: { resume: "yes" } }));
    return null;
  }
  return isAnswered && !stream.isLoading && stream.values.notes?.length === 3 ? { notes: stream.values.notes } : null;
});

console.log(JSON.stringify({ started, answered }));
process.exit(0);
