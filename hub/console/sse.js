// The event-stream text format, WHATWG HTML 9.2.5 and 9.2.6, as an incremental parser.
//
// Text in, events out; no I/O and no clock. Lines end in LF, CRLF or CR, also when the CR and its
// LF arrive in different chunks. An unfinished event at the end of the stream is dropped, as the
// standard asks. The byte order mark is the decoder's business (TextDecoder removes it).

/** Whether a response with this Content-Type (null: none) is a stream; parameters do not matter. */
export function isStream(contentType) {
  return /^\s*text\/event-stream\s*(;|$)/i.test(contentType ?? '');
}

/** Parses one stream; make a new one for each connection and hand it the last id of the previous. */
export class Parser {
  #rest = '';
  #skipLf = false;
  #data = [];
  #event = '';
  #id;

  /** The id to send as Last-Event-ID; the standard commits it at the blank line. */
  lastEventId;
  /** Milliseconds of the stream's latest `retry:`, or undefined. */
  retry;

  constructor(lastEventId = '') {
    this.lastEventId = lastEventId;
    this.#id = lastEventId;
  }

  /** Consumes decoded text and calls `dispatch({ type, data, id })` for each finished event. */
  feed(text, dispatch) {
    if (text === '') return;
    if (this.#skipLf && text[0] === '\n') text = text.slice(1);
    this.#skipLf = text === '' ? false : text.endsWith('\r');
    const lines = (this.#rest + text).split(/\r\n|\n|\r/);
    this.#rest = lines.pop();
    for (const line of lines) this.#line(line, dispatch);
  }

  #line(line, dispatch) {
    if (line === '') return this.#finish(dispatch);
    const colon = line.indexOf(':');
    if (colon === 0) return;
    const field = colon < 0 ? line : line.slice(0, colon);
    const from = line[colon + 1] === ' ' ? colon + 2 : colon + 1;
    const value = colon < 0 ? '' : line.slice(from);
    if (field === 'data') this.#data.push(value);
    else if (field === 'event') this.#event = value;
    else if (field === 'id' && !value.includes('\0')) this.#id = value;
    else if (field === 'retry' && /^[0-9]+$/.test(value) && Number.isSafeInteger(Number(value))) this.retry = Number(value);
  }

  #finish(dispatch) {
    this.lastEventId = this.#id;
    const type = this.#event || 'message';
    const data = this.#data;
    this.#event = '';
    this.#data = [];
    if (data.length > 0) dispatch({ type, data: data.join('\n'), id: this.lastEventId });
  }
}
