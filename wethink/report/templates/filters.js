const cards = [...document.querySelectorAll(".card")];
const buttons = [...document.querySelectorAll(".filters button")];
function update() {
  let shown = 0;
  for (const card of cards) {
    card.hidden = Object.entries(chosen).some(([key, value]) => value && card.dataset[key] !== value);
    shown += !card.hidden;
  }
  for (const button of buttons) {
    button.setAttribute("aria-pressed", String(chosen[button.dataset.key] === button.dataset.value));
  }
  document.getElementById("shown").textContent = shown + " of " + cards.length + " shown";
}
for (const button of buttons) {
  button.addEventListener("click", () => { chosen[button.dataset.key] = button.dataset.value; update(); });
}
update();
