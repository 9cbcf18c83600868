// Calls the JavaScript client of the LangGraph SDK as tests/sdk_calls.py calls the Python ones, by the same names.
// Arguments: URL of the API, tokens of who starts, of who votes and of an admin. Writes each answer as JSON.
import { Client } from "@langchain/langgraph-sdk";

const [apiUrl, starter, voter, admin] = process.argv.slice(2);
const clientOf = (apiKey) => new Client({ apiUrl, apiKey, callerOptions: { maxRetries: 0 } });
const [c, v, a] = [starter, voter, admin].map(clientOf);
const nobody = "00000000-0000-0000-0000-000000000007";
const asking = { input: { text: "Ada" } };
const found = {};
const kept = {};

/** Keep what came of a call: the answer, the events of a stream, or the status of the refusal. */
async function call(name, ask) {
  try {
    let answer = await ask();
    if (answer?.[Symbol.asyncIterator]) {
      const events = [];
      for await (const part of answer) events.push([part.event, part.data]);
      answer = { events };
    }
    found[name] = { answer: answer ?? null };
    return answer;
  } catch (error) {
    found[name] = { refused: error.status ?? String(error) };
    return null;
  }
}

const [assistant] = await call("assistants.search", () => c.assistants.search({ graphId: "asking" }));
const of = assistant.assistant_id;
await call("assistants.get", () => c.assistants.get(of));
await call("assistants.get: of none", () => c.assistants.get(nobody));
await call("assistants.get_graph", () => c.assistants.getGraph(of));
await call("assistants.get_schemas", () => c.assistants.getSchemas(of));
await call("assistants.get_subgraphs", () => c.assistants.getSubgraphs(of));
await call("assistants.get_versions", () => c.assistants.getVersions(of));
await call("assistants.create", () => c.assistants.create({ graphId: "asking", name: "Mine" }));

kept.thread = (await call("threads.create", () => c.threads.create({ metadata: { desk: "north" } }))).thread_id;
const id = kept.thread;
await call("threads.create: that is there", () => c.threads.create({ threadId: id }));
await call("threads.get: on which nothing ran", () => c.threads.get(id));
await call("threads.get: that is not there", () => c.threads.get(nobody));
await call("threads.update", () => c.threads.update(id, { metadata: { more: 1 } }));
await call("threads.search", () => c.threads.search({ ids: [id] }));
await call("threads.search: with select", () => c.threads.search({ ids: [id], select: ["thread_id", "status"] }));
await call("threads.count", () => c.threads.count({ metadata: { desk: "north" } }));
await call("threads.get_state: on which nothing ran", () => c.threads.getState(id));
await call("threads.get_history: on which nothing ran", () => c.threads.getHistory(id));
await call("runs.create: of no assistant", () => c.runs.create(id, "no-such-graph", asking));
await call("runs.create: on no thread", () => c.runs.create(nobody, "asking", asking));

const begin = { ...asking, metadata: { trace: "t" } };
const { run_id: run } = await call("runs.create", () => c.runs.create(id, "asking", begin));
await call("runs.join: that asks", () => c.runs.join(id, run));
await call("runs.get: that asks", () => c.runs.get(id, run));
await call("runs.get: that is not there", () => c.runs.get(id, nobody));
await call("runs.list", () => c.runs.list(id));
await call("runs.list: with select", () => c.runs.list(id, { select: ["run_id", "status"] }));
await call("threads.get: that asks", () => c.threads.get(id));
await call("threads.search: of those that ask", () => c.threads.search({ ids: [id], status: "interrupted" }));
const state = await call("threads.get_state: that asks", () => c.threads.getState(id));
await call("threads.get_state: with subgraphs", () => c.threads.getState(id, undefined, { subgraphs: true }));
await call("threads.get_state: at a checkpoint", () => c.threads.getState(id, state.checkpoint));
await call("threads.get_state: of no thread", () => c.threads.getState(nobody));
await call("threads.get_history", () => c.threads.getHistory(id));
const copy = await call("threads.copy", () => c.threads.copy(id));
await call("threads.update_state: that asks", () => c.threads.updateState(copy.thread_id, { values: { text: "Bob" } }));

const answer = (resume) => v.runs.create(id, "asking", { command: { resume } });
await call("runs.create: to a question that is gone", () => answer({ ["0".repeat(32)]: 1 }));
const answered = await call("runs.create: with an answer", () => answer(300));
await call("runs.join: to a breakpoint", () => c.runs.join(id, answered.run_id));
await call("threads.get_state: at a breakpoint", () => c.threads.getState(id));
const last = await call("runs.create: over a breakpoint", () => answer(true));
await call("runs.join: to the end", () => c.runs.join(id, last.run_id));
await call("runs.get: that is over", () => c.runs.get(id, last.run_id));
await call("threads.get: that is over", () => c.threads.get(id));

const { thread_id: waited } = await c.threads.create();
await call("runs.wait", () => c.runs.wait(waited, "asking", asking));
await call("runs.wait: with an answer", () => v.runs.wait(waited, "asking", { command: { resume: 300 } }));
const { thread_id: streamed } = await c.threads.create();
const wanted = { ...asking, streamMode: ["values", "updates"] };
const told = await call("runs.stream", () => c.runs.stream(streamed, "asking", wanted));
await call("runs.join_stream", () => c.runs.joinStream(streamed, told.events[0][1].run_id));

const { thread_id: slow } = await c.threads.create();
const takes = { input: { text: "x", flag: true, seconds: 30 } };
const { run_id: slowRun } = await call("runs.create: that takes its time", () => c.runs.create(slow, "gated", takes));
await c.runs.cancel(slow, slowRun, true);
await call("runs.get: that was cancelled", () => c.runs.get(slow, slowRun));
await call("threads.get: of which a run was cancelled", () => c.threads.get(slow));
await call("runs.delete", () => c.runs.delete(slow, slowRun));
await call("runs.wait: without a thread", () => c.runs.wait(null, "asking", asking));
await call("runs.stream: without a thread", () => c.runs.stream(null, "asking", asking));
await call("runs.create_batch", () => c.runs.createBatch([{ assistantId: "asking", ...asking }]));
await call("threads.delete", () => c.threads.delete(slow));
await call("crons.search", () => c.crons.search());
await call("store.put_item", () => a.store.putItem(["notes"], "one", { text: "x" }));
console.log(JSON.stringify(found));
