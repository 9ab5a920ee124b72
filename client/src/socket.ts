// The part of the WebSocket interface that the client uses: browsers, Node.js 22 and the package `ws` all have it.

export interface Socket {
  binaryType: string;
  readonly readyState: number;
  onopen: ((event: never) => void) | null;
  onmessage: ((event: never) => void) | null;
  onclose: ((event: never) => void) | null;
  onerror: ((event: never) => void) | null;
  send(message: string | Uint8Array<ArrayBuffer>): void;
  close(): void;
}

export type SocketConstructor = new (url: string, protocols: string[]) => Socket;

/** `readyState` of an open socket. */
export const OPEN = 1;
